package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const wave = 10_000

var sum atomic.Int64

func switchBench(tasks int, seconds float64) {
	switches := 100_000
	for {
		taken := yields(tasks, switches/tasks)
		if taken.Seconds() >= seconds*0.8 {
			report(map[string]float64{"ns_per_switch": float64(taken.Nanoseconds()) / float64(switches)})
			return
		}
		factor := min(max(seconds/max(taken.Seconds(), 1e-6), 1.5), 20)
		switches = int(float64(switches) * factor)
	}
}

func yields(tasks, each int) time.Duration {
	var all sync.WaitGroup
	var once sync.Once
	var start time.Time
	var done atomic.Int64
	all.Add(tasks)
	for range tasks {
		go func() {
			once.Do(func() { start = time.Now() })
			mine := 0
			for mine < each {
				runtime.Gosched()
				mine++
			}
			done.Add(int64(mine))
			all.Done()
		}()
	}
	all.Wait()
	taken := time.Since(start)
	check(done.Load() == int64(tasks*each), "number of switches")
	return taken
}

func spawn(total int, allAlive bool) {
	var taken time.Duration
	if allAlive {
		start := time.Now()
		gate := make(chan struct{})
		all := park(total, gate)
		close(gate)
		all.Wait()
		taken = time.Since(start)
	} else {
		oneWave()
		start := time.Now()
		for range total / wave {
			oneWave()
		}
		taken = time.Since(start)
		check(sum.Load() == int64(total+wave), "sum")
	}
	report(map[string]float64{"ns_per_task": float64(taken.Nanoseconds()) / float64(total)})
}

func oneWave() {
	var all sync.WaitGroup
	all.Add(wave)
	for range wave {
		go func() {
			sum.Add(1)
			all.Done()
		}()
	}
	all.Wait()
}

// park starts goroutines that wait for the gate to be closed, and returns when all of them do.
func park(total int, gate chan struct{}) *sync.WaitGroup {
	all := new(sync.WaitGroup)
	all.Add(total)
	for range total {
		go func() {
			sum.Add(1)
			<-gate
			all.Done()
		}()
	}
	for sum.Load() < int64(total) {
		runtime.Gosched()
	}
	return all
}

func parked(total int) {
	resident, pageTables := memory()
	gate := make(chan struct{})
	park(total, gate)
	residentNow, pageTablesNow := memory()
	report(map[string]float64{
		"bytes_per_task":            (residentNow - resident) / float64(total),
		"page_table_bytes_per_task": (pageTablesNow - pageTables) / float64(total),
		"tasks":                     float64(total),
	})
	close(gate)
}

// sleepLengths gives the same lengths as the harness of the Rust contenders.
func sleepLengths(count int) []time.Duration {
	x := uint64(0x9E3779B97F4A7C15)
	lengths := make([]time.Duration, count)
	for i := range lengths {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		lengths[i] = time.Duration(x%2_000_000) * time.Microsecond
	}
	return lengths
}

func timers(sleepers int) {
	figures := map[string]float64{}
	for _, round := range []string{"cold", "warm"} {
		cpu, start := cpuSeconds(), time.Now()
		var all sync.WaitGroup
		all.Add(sleepers)
		for _, length := range sleepLengths(sleepers) {
			go func() {
				time.Sleep(length)
				sum.Add(1)
				all.Done()
			}()
		}
		all.Wait()
		figures[round+"_cpu_s"] = cpuSeconds() - cpu
		figures[round+"_wall_s"] = time.Since(start).Seconds()
	}
	check(sum.Load() == int64(2*sleepers), "sleepers that have woken")
	report(figures)
}
