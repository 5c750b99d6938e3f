package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

const readBufferBytes = 256 << 10

// loop drives every socket from one thread: cheap enough that the server, not the load, is the bottleneck.
type loop struct {
	epoll   int
	ports   []int
	sockets []*socket // by file descriptor
	events  []syscall.EpollEvent
	buffer  []byte
	failure error
}

// socket is one TCP connection; onReceive gets every chunk and returns how much of it was used up.
type socket struct {
	loop      *loop
	node      int // which of the server's, counted on beyond the last
	fd        int
	connected bool
	rest      []byte // received, not used up
	unsent    []byte
	onOpen    func()
	onReceive func(chunk []byte) (used int)
}

func newLoop(ports []int) (*loop, error) {
	epoll, err := syscall.EpollCreate1(0)
	if err != nil {
		return nil, err
	}
	events := make([]syscall.EpollEvent, 1024)
	return &loop{epoll: epoll, ports: ports, events: events, buffer: make([]byte, readBufferBytes)}, nil
}

// dial opens a socket; s.onOpen is called once it is connected.
func (l *loop) dial(s *socket) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return err
	}
	address := syscall.SockaddrInet4{Port: l.ports[s.node%len(l.ports)], Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Connect(fd, &address); err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		return err
	}
	s.loop, s.fd = l, fd
	for len(l.sockets) <= fd {
		l.sockets = append(l.sockets, nil)
	}
	l.sockets[fd] = s
	return s.watch(syscall.EPOLL_CTL_ADD, syscall.EPOLLIN|syscall.EPOLLOUT)
}

// run serves the sockets until done says so, failing after the deadline or with the first socket that fails.
func (l *loop) run(limit time.Duration, done func() bool) error {
	deadline := time.Now().Add(limit)
	for !done() {
		if err := l.turn(10 * time.Millisecond); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not done after %v", limit)
		}
	}
	return nil
}

// runFor serves the sockets for so long.
func (l *loop) runFor(duration time.Duration) error {
	end := time.Now().Add(duration)
	return l.run(duration+time.Second, func() bool { return time.Now().After(end) })
}

// turn waits for events, at most for the time given, and serves them.
func (l *loop) turn(wait time.Duration) error {
	count, err := syscall.EpollWait(l.epoll, l.events, int(wait.Milliseconds()))
	if err != nil && !errors.Is(err, syscall.EINTR) {
		return err
	}
	for _, event := range l.events[:max(count, 0)] {
		if err := l.sockets[event.Fd].serve(event.Events); err != nil {
			return err
		}
	}
	return l.failure
}

// fail ends the run with an error noticed inside a callback.
func (l *loop) fail(err error) {
	if l.failure == nil {
		l.failure = err
	}
}

func (s *socket) watch(operation int, events uint32) error {
	return syscall.EpollCtl(s.loop.epoll, operation, s.fd, &syscall.EpollEvent{Events: events, Fd: int32(s.fd)})
}

func (s *socket) serve(events uint32) error {
	if events&syscall.EPOLLOUT != 0 {
		if err := s.writable(); err != nil {
			return err
		}
	}
	if events&(syscall.EPOLLIN|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		return s.readable()
	}
	return nil
}

func (s *socket) writable() error {
	if !s.connected {
		code, err := syscall.GetsockoptInt(s.fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err != nil || code != 0 {
			return fmt.Errorf("connect: %w", errors.Join(err, syscall.Errno(code)))
		}
		s.connected = true
		s.onOpen()
	}
	pending := s.unsent
	s.unsent = nil
	s.send(pending)
	if len(s.unsent) > 0 {
		return nil
	}
	return s.watch(syscall.EPOLL_CTL_MOD, syscall.EPOLLIN)
}

func (s *socket) readable() error {
	count, err := syscall.Read(s.fd, s.loop.buffer)
	if errors.Is(err, syscall.EAGAIN) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if count == 0 {
		return fmt.Errorf("the server closed a connection, last bytes %q", s.rest)
	}
	chunk := s.loop.buffer[:count]
	if len(s.rest) > 0 {
		chunk = append(s.rest, chunk...)
	}
	used := s.onReceive(chunk)
	s.rest = append(s.rest[:0], chunk[used:]...)
	return nil
}

// send writes now what the socket takes and the rest when it drains.
func (s *socket) send(data []byte) {
	if len(s.unsent) > 0 {
		s.unsent = append(s.unsent, data...)
		return
	}
	count := 0
	if len(data) > 0 {
		var err error
		count, err = syscall.Write(s.fd, data)
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			s.loop.fail(fmt.Errorf("write: %w", err))
			return
		}
	}
	if count = max(count, 0); count < len(data) {
		s.unsent = append([]byte(nil), data[count:]...)
		_ = s.watch(syscall.EPOLL_CTL_MOD, syscall.EPOLLIN|syscall.EPOLLOUT)
	}
}

func (s *socket) close() {
	s.loop.sockets[s.fd] = nil
	_ = syscall.Close(s.fd)
}
