//go:build !linux

package main

import (
	"os"
	"syscall"
)

// ownGroup keeps the terminal's Ctrl-C from a child.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// syncFile brings the file's data to the disk, as the servers do.
func syncFile(f *os.File) error { return f.Sync() }

// deviceStat is found on Linux only.
func deviceStat(string) string { return "" }

// fileSystem is found on Linux only.
func fileSystem(string) string { return unknown }
