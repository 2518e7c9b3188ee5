//go:build linux && (amd64 || arm64) && !race

package client

import (
	"syscall"
	"unsafe"
)

// receive and transmit are read and write that never wait and that the Go
// scheduler is not told of. Telling it costs more than such a call takes: its
// monitor, which looks for calls that hang, is woken by the first one after each
// idle moment.

func receive(fd uintptr, b []byte) (int, syscall.Errno) {
	return socketCall(syscall.SYS_RECVFROM, fd, b)
}

func transmit(fd uintptr, b []byte) (int, syscall.Errno) {
	return socketCall(syscall.SYS_SENDTO, fd, b)
}

func socketCall(number, fd uintptr, b []byte) (int, syscall.Errno) {
	const flags = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL
	n, _, err := syscall.RawSyscall6(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
	return int(n), err
}
