package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what one process has used so far. What cannot be had is zero: all
// of it comes from /proc, which only Linux has.
type usage struct {
	CPU         time.Duration // user and system
	ResidentKiB int64
	PeakKiB     int64 // the highest that ResidentKiB was
}

// clockTick is the unit of times in /proc: USER_HZ is 100 wherever Linux runs.
const clockTick = 10 * time.Millisecond

// usageOf reads what a process has used.
func usageOf(pid int) usage {
	var u usage
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		u.CPU = parseStat(string(b))
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
		u.ResidentKiB = field(string(b), "VmRSS:")
		u.PeakKiB = field(string(b), "VmHWM:")
	}
	return u
}

// diskBytes is how much the device that holds dir has written so far, for whomever;
// zero where it cannot be had. What /proc/PID/io counts is no substitute: the whole
// piece of the page cache that a write touches, however little of it is written.
func diskBytes(dir string) int64 {
	b, err := os.ReadFile(deviceStat(dir))
	if err != nil {
		return 0
	}
	const sectors, sectorBytes = 6, 512 // the field, whatever the device's own sectors
	f := strings.Fields(string(b))
	if len(f) <= sectors {
		return 0
	}
	n, _ := strconv.ParseInt(f[sectors], 10, 64)
	return n * sectorBytes
}

// parseStat returns the CPU time in the text of /proc/PID/stat. The second
// field, the name in parentheses, may hold anything.
func parseStat(text string) time.Duration {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const user, system = 11, 12 // counted from the field after the name
	if len(fields) <= system {
		return 0
	}
	u, _ := strconv.ParseInt(fields[user], 10, 64)
	s, _ := strconv.ParseInt(fields[system], 10, 64)
	return time.Duration(u+s) * clockTick
}

// field returns the number behind a name at the beginning of a line.
func field(text, name string) int64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			f := strings.Fields(rest)
			if len(f) == 0 {
				return 0
			}
			n, _ := strconv.ParseInt(f[0], 10, 64)
			return n
		}
	}
	return 0
}

// busyCPU is the CPU time that the whole machine has been busy for, time stolen
// by its host included; zero where it cannot be had.
func busyCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseBusy(string(b))
}

// parseBusy adds up the first line of /proc/stat without idle and waiting:
// user nice system idle iowait irq softirq steal. What follows is in these.
func parseBusy(text string) time.Duration {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	const idle, wait, last = 4, 5, 8
	if len(fields) <= last || fields[0] != "cpu" {
		return 0
	}
	sum := int64(0)
	for i, f := range fields[1 : last+1] {
		if i+1 != idle && i+1 != wait {
			n, _ := strconv.ParseInt(f, 10, 64)
			sum += n
		}
	}
	return time.Duration(sum) * clockTick
}
