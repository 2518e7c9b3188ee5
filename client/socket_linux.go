//go:build linux && (amd64 || arm64)

package client

import (
	"io"
	"net"
	"os"
	"syscall"
)

// socket reads from and writes to a TCP socket by system calls that never wait;
// see receive and transmit.
type socket struct {
	raw     syscall.RawConn
	recv    func(fd uintptr) bool // made once, so that using them allocates nothing
	send    func(fd uintptr) bool
	in, out result
}

// result is what a system call was given and did. One goroutine at a time reads,
// and one at a time writes.
type result struct {
	buf []byte
	n   int
	err syscall.Errno
}

// newSocket returns the socket that nc is, or nil. Only a bare one will do:
// what is wrapped around a socket has its own idea of reading and writing.
func newSocket(nc net.Conn) *socket {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{raw: raw}
	s.recv = func(fd uintptr) bool {
		s.in.call(receive, fd)
		return s.in.err != syscall.EAGAIN
	}
	s.send = func(fd uintptr) bool {
		s.out.call(transmit, fd)
		return true
	}
	return s
}

// call makes one system call, again if a signal interrupts it.
func (r *result) call(do func(fd uintptr, b []byte) (int, syscall.Errno), fd uintptr) {
	for {
		r.n, r.err = do(fd, r.buf)
		if r.err != syscall.EINTR {
			break
		}
	}
	if r.err != 0 {
		r.n = 0
	}
}

// read is as net.Conn has it.
func (s *socket) read(b []byte) (int, error) {
	s.in = result{buf: b}
	err := s.raw.Read(s.recv)
	switch {
	case err != nil:
		return 0, err
	case s.in.err != 0:
		return 0, os.NewSyscallError("read", s.in.err)
	case s.in.n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return s.in.n, nil
}

// write writes as much of b as there is room for at once.
func (s *socket) write(b []byte) (int, error) {
	s.out = result{buf: b}
	err := s.raw.Write(s.send)
	s.out.buf = nil
	switch {
	case err != nil:
		return 0, err
	case s.out.err != 0 && s.out.err != syscall.EAGAIN:
		return 0, os.NewSyscallError("write", s.out.err)
	}
	return s.out.n, nil
}
