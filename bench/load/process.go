package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// cpuSeconds is the CPU time that all threads of a process have used, to the nanosecond (clock_getcpuclockid(3)); 0 without
// a process.
func cpuSeconds(pid int) float64 {
	if pid == 0 {
		return 0
	}
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &spent); err != nil {
		panic(err)
	}
	return float64(spent.Nano()) / 1e9
}

// residentBytes is the resident set of a process (proc_pid_statm(5)).
func residentBytes(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var pages, resident int
	if _, err := fmt.Sscan(string(text), &pages, &resident); err != nil {
		return 0, err
	}
	return resident * os.Getpagesize(), nil
}

// usage measures a stretch of time: the clock, the CPU of the server and of the store beside it, and our own.
type usage struct {
	options                  options
	began                    time.Time
	server, store, generator float64
}

func startUsage(o options) usage {
	return usage{o, time.Now(), serverSeconds(o), cpuSeconds(o.storePid), cpuSeconds(os.Getpid())}
}

// serverSeconds is the CPU time of all processes of the server.
func serverSeconds(o options) (spent float64) {
	for _, pid := range o.pids {
		spent += cpuSeconds(pid)
	}
	return spent
}

// figures since the start, and what was counted meanwhile.
func (u usage) figures(count int) figures {
	return figures{
		"count":                 float64(count),
		"seconds":               time.Since(u.began).Seconds(),
		"server_cpu_seconds":    serverSeconds(u.options) - u.server,
		"store_cpu_seconds":     cpuSeconds(u.options.storePid) - u.store,
		"generator_cpu_seconds": cpuSeconds(os.Getpid()) - u.generator,
	}
}
