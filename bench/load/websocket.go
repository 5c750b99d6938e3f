package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	opText  = 1
	opClose = 8
	opPing  = 9
)

const upgradeRequest = "GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

var maskKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// webSocket is the client's side of RFC 6455, as far as a load needs it: whole text frames, masked.
type webSocket struct {
	socket
	upgraded  bool
	onUpgrade func()
	onMessage func(payload []byte) // valid during the call
}

func (l *loop) openWebSocket(w *webSocket) error {
	w.onOpen = func() { w.send([]byte(upgradeRequest)) }
	w.onReceive = w.parse
	return l.dial(&w.socket)
}

func (w *webSocket) parse(chunk []byte) (used int) {
	if !w.upgraded {
		head := bytes.Index(chunk, []byte("\r\n\r\n"))
		if head < 0 {
			return 0
		}
		if !bytes.HasPrefix(chunk, []byte("HTTP/1.1 101 ")) {
			w.loop.fail(fmt.Errorf("no upgrade: %q", chunk[:head]))
			return len(chunk)
		}
		w.upgraded = true
		used = head + 4
		w.onUpgrade()
	}
	for {
		opcode, payload, size := parseFrame(chunk[used:])
		if size == 0 {
			return used
		}
		used += size
		switch opcode {
		case opText:
			w.onMessage(payload)
		case opClose, opPing:
			w.loop.fail(fmt.Errorf("unexpected frame %d from the server: %q", opcode, payload))
		}
	}
}

// parseFrame returns the first frame of data; its size is 0 while it is not complete.
func parseFrame(data []byte) (opcode byte, payload []byte, size int) {
	if len(data) < 2 {
		return 0, nil, 0
	}
	head, length := 2, int(data[1]&0x7f)
	switch length {
	case 126:
		if head = 4; len(data) < head {
			return 0, nil, 0
		}
		length = int(binary.BigEndian.Uint16(data[2:]))
	case 127:
		if head = 10; len(data) < head {
			return 0, nil, 0
		}
		length = int(binary.BigEndian.Uint64(data[2:]))
	}
	if len(data) < head+length {
		return 0, nil, 0
	}
	return data[0] & 0x0f, data[head : head+length], head + length
}

// appendFrame adds payload to out as one masked text frame of at most 64 KiB.
func appendFrame(out, payload []byte) []byte {
	out = append(out, 0x80|opText)
	if len(payload) < 126 {
		out = append(out, 0x80|byte(len(payload)))
	} else {
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(len(payload)))
	}
	out = append(out, maskKey[:]...)
	for i, b := range payload {
		out = append(out, b^maskKey[i&3])
	}
	return out
}
