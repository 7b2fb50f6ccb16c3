package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// lastOfSeveral is the last and longest of several runs, as in the harness of the Rust contenders: nanoseconds per operation.
func lastOfSeveral(seconds float64, run func(count int) time.Duration) float64 {
	count := 10_000
	for {
		taken := run(count)
		if taken.Seconds() >= seconds*0.8 {
			return float64(taken.Nanoseconds()) / float64(count)
		}
		factor := min(max(seconds/max(taken.Seconds(), 1e-6), 1.5), 20)
		count = int(float64(count) * factor)
	}
}

// wakes reports nanoseconds per wake-up, where run takes a number of rounds in each of which all waiters are woken.
func wakes(waiters int, seconds float64, run func(waiters, rounds int) time.Duration) {
	ns := lastOfSeveral(seconds, func(count int) time.Duration {
		rounds := (count + waiters - 1) / waiters
		taken := run(waiters, rounds)
		return time.Duration(float64(taken) * float64(count) / float64(rounds*waiters))
	})
	report(map[string]float64{"ns_per_op": ns})
}

func condvarRounds(waiters, rounds int) time.Duration {
	var lock sync.Mutex
	opened, allBack := sync.NewCond(&lock), sync.NewCond(&lock)
	turn, back := 0, 0
	var all sync.WaitGroup
	all.Add(waiters)
	for range waiters {
		go func() {
			for round := range rounds {
				lock.Lock()
				back++
				if back == waiters {
					allBack.Signal()
				}
				for turn <= round {
					opened.Wait()
				}
				lock.Unlock()
			}
			all.Done()
		}()
	}
	var start time.Time
	for round := range rounds {
		lock.Lock()
		for back < waiters {
			allBack.Wait()
		}
		if round == 0 {
			start = time.Now()
		}
		turn, back = round+1, 0
		lock.Unlock()
		opened.Broadcast()
	}
	all.Wait()
	return time.Since(start)
}

// eventRounds closes a channel for all who wait, Go's way to tell many; each round has a channel of its own.
func eventRounds(waiters, rounds int) time.Duration {
	opened := make([]chan struct{}, rounds)
	for round := range opened {
		opened[round] = make(chan struct{})
	}
	allBack := make(chan struct{}, 1)
	var back atomic.Int64
	var all sync.WaitGroup
	all.Add(waiters)
	for range waiters {
		go func() {
			for _, gate := range opened {
				if back.Add(1) == int64(waiters) {
					allBack <- struct{}{}
				}
				<-gate
			}
			all.Done()
		}()
	}
	var start time.Time
	for round, gate := range opened {
		<-allBack
		if round == 0 {
			start = time.Now()
		}
		back.Store(0)
		close(gate)
	}
	all.Wait()
	return time.Since(start)
}

// semaphoreRounds has a channel for the permits, Go's usual semaphore.
func semaphoreRounds(waiters, rounds int) time.Duration {
	permits, allBack := make(chan struct{}, waiters), make(chan struct{}, 1)
	var back atomic.Int64
	var all sync.WaitGroup
	all.Add(waiters)
	for range waiters {
		go func() {
			for range rounds {
				if back.Add(1) == int64(waiters) {
					allBack <- struct{}{}
				}
				<-permits
			}
			all.Done()
		}()
	}
	var start time.Time
	for round := range rounds {
		<-allBack
		if round == 0 {
			start = time.Now()
		}
		back.Store(0)
		for range waiters {
			permits <- struct{}{}
		}
	}
	all.Wait()
	check(len(permits) == 0, "permits left")
	return time.Since(start)
}

// mutexTasks locks, adds and lets others run while it has the lock.
func mutexTasks(tasks int, seconds float64) {
	ns := lastOfSeveral(seconds, func(count int) time.Duration {
		each := count / tasks
		var lock sync.Mutex
		sum := 0
		var all sync.WaitGroup
		all.Add(tasks)
		start := time.Now()
		for range tasks {
			go func() {
				for range each {
					lock.Lock()
					sum++
					runtime.Gosched()
					lock.Unlock()
				}
				all.Done()
			}()
		}
		all.Wait()
		taken := time.Since(start)
		check(sum == tasks*each, "sum")
		return taken
	})
	report(map[string]float64{"ns_per_op": ns, "ops_per_s": 1e9 / ns})
}
