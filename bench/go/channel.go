package main

import (
	"sync"
	"time"
)

// channel sends integers through one channel.
func channel(senders, receivers, capacity int, seconds float64) {
	messages := 100_000
	for {
		taken := exchange(senders, receivers, capacity, messages/senders)
		if taken.Seconds() >= seconds*0.8 {
			report(map[string]float64{"msgs_per_s": float64(messages) / taken.Seconds()})
			return
		}
		factor := min(max(seconds/max(taken.Seconds(), 1e-6), 1.5), 20)
		messages = int(float64(messages) * factor)
	}
}

func exchange(senders, receivers, capacity, each int) time.Duration {
	messages := make(chan uint64, capacity)
	sums := make(chan uint64, receivers)
	start := time.Now()
	for range receivers {
		go func() {
			var sum uint64
			for n := range messages {
				sum += n
			}
			sums <- sum
		}()
	}
	var all sync.WaitGroup
	all.Add(senders)
	for range senders {
		go func() {
			for n := range each {
				messages <- uint64(n)
			}
			all.Done()
		}()
	}
	all.Wait()
	close(messages)
	var sum uint64
	for range receivers {
		sum += <-sums
	}
	taken := time.Since(start)
	check(sum == uint64(senders)*uint64(each)*uint64(each-1)/2, "sum of messages")
	return taken
}
