//go:build linux && (amd64 || arm64) && race

package client

import (
	"errors"
	"syscall"
)

// The race detector learns from announced calls only that what was done before a
// write comes before what is done after the read of it.

func receive(fd uintptr, b []byte) (int, syscall.Errno) {
	n, err := syscall.Read(int(fd), b)
	return n, errno(err)
}

func transmit(fd uintptr, b []byte) (int, syscall.Errno) {
	n, err := syscall.Write(int(fd), b)
	return n, errno(err)
}

func errno(err error) (e syscall.Errno) {
	errors.As(err, &e)
	return e
}
