package main

import (
	"os"
	"runtime"
	"strings"
)

const unknown = "unknown"

// machine is where it was measured.
type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMiB  int64  `json:"memory_mib"` // zero: unknown
	OS         string `json:"os"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"`
	Load       string `json:"load_before"` // averages when it began
}

// thisMachine looks at this machine; dir is on the disk that is measured.
func thisMachine(dir string) machine {
	m := machine{CPU: unknown, Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Kernel: unknown, FileSystem: fileSystem(dir)}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.MemoryMiB = field(string(b), "MemTotal:") / 1024
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	return m
}
