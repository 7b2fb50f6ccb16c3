package main

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

const echoBuffer = 4096

// sink takes the results of computing: a result that nobody reads is not computed.
var sink atomic.Uint64

// serve echoes what it reads, beside so many goroutines that compute and yield between steps.
func serve(computing, iterations int) {
	for seed := range computing {
		go func() {
			x := uint64(seed)
			for {
				x = computeStep(x, iterations)
				sink.Store(x)
				sum.Add(1)
				runtime.Gosched()
			}
		}()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail("%v", err)
	}
	start := time.Now()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		report(map[string]float64{"compute_steps_per_s": float64(sum.Load()) / time.Since(start).Seconds()})
		os.Exit(0)
	}()
	report(map[string]float64{"port": float64(listener.Addr().(*net.TCPAddr).Port)})
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail("accept: %v", err)
		}
		go echo(connection) // net sets TCP_NODELAY
	}
}

func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, echoBuffer)
	for {
		count, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:count]); err != nil {
			return
		}
	}
}

// computeStep is the same chain of dependent multiplications as in the harness of the Rust contenders.
func computeStep(seed uint64, iterations int) uint64 {
	x := seed | 1
	for range iterations {
		x = x*6364136223846793005 + 1442695040888963407
		x ^= x >> 29
	}
	return x
}
