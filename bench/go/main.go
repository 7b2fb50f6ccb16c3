// Command go-peer is Go as a contender: goroutines and the net package.
//
// Started by the runner as `go-peer go BENCH key=value ...`; it prints one line of JSON with its figures. A bench that
// serves prints {"port": N} first and its figures when standard input ends. The runner sets GOMAXPROCS.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// args are the key=value words of the command line.
var args = map[string]string{}

func main() {
	if len(os.Args) < 3 {
		fail("usage: go-peer go BENCH key=value ... (started by the bench runner)")
	}
	for _, word := range os.Args[3:] {
		key, value, found := strings.Cut(word, "=")
		if !found {
			fail("argument %q is not of the form key=value", word)
		}
		args[key] = value
	}
	switch os.Args[2] {
	case "switch":
		switchBench(number("tasks"), seconds())
	case "spawn":
		spawn(number("total"), args["alive"] == "all")
	case "parked":
		parked(number("tasks"))
	case "timers":
		timers(number("sleepers"))
	case "echo":
		serve(0, 0)
	case "fair":
		serve(number("computing"), number("iterations"))
	case "condvar":
		wakes(number("waiters"), seconds(), condvarRounds)
	case "event":
		wakes(number("waiters"), seconds(), eventRounds)
	case "semaphore":
		wakes(number("waiters"), seconds(), semaphoreRounds)
	case "mutex":
		mutexTasks(tasksOfShape(), seconds())
	case "channel":
		channel(number("senders"), number("receivers"), number("capacity"), seconds())
	default:
		fail("contender go has no bench %s", os.Args[2])
	}
}

func number(key string) int {
	value, err := strconv.Atoi(args[key])
	if err != nil {
		fail("%s=%q is not a number", key, args[key])
	}
	return value
}

// tasksOfShape is the N of shape=tasks=N.
func tasksOfShape() int {
	count, err := strconv.Atoi(strings.TrimPrefix(args["shape"], "tasks="))
	if err != nil {
		fail("shape=%q is not of tasks", args["shape"])
	}
	return count
}

func seconds() float64 {
	value, err := strconv.ParseFloat(args["seconds"], 64)
	if err != nil {
		fail("seconds=%q is not a number", args["seconds"])
	}
	return value
}

// report prints one line of JSON.
func report(figures map[string]float64) {
	line, err := json.Marshal(figures)
	if err != nil {
		fail("figures: %v", err)
	}
	fmt.Println(string(line))
}

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

func check(right bool, what string) {
	if !right {
		fail("wrong result: %s", what)
	}
}

// cpuSeconds is the CPU time that this process has used.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail("getrusage: %v", err)
	}
	of := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return of(usage.Utime) + of(usage.Stime)
}

// memory gives resident pages and page tables in bytes.
func memory() (resident, pageTables float64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail("%v", err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(words[1], 64)
		switch words[0] {
		case "VmRSS:":
			resident = kib * 1024
		case "VmPTE:":
			pageTables = kib * 1024
		}
	}
	return resident, pageTables
}
