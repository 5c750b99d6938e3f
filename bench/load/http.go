package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// httpClient keeps one request in flight on one keep-alive connection.
type httpClient struct {
	socket
	prefix  string // of the channels published to; a batch has one for each publication
	size    int
	batch   int
	paths   []string // got in turn instead of publishing
	next    int
	token   string
	onReply func(took time.Duration)
	sent    time.Time
}

// httpPublish measures POST /api/publish, or /api/batch with more than one publication per request.
func httpPublish(o options) (figures, error) {
	l, err := newLoop(o.ports)
	if err != nil {
		return nil, err
	}
	return exchange(l, o, func(i int) *httpClient {
		return &httpClient{prefix: fmt.Sprintf("bench:http-%d", i), size: o.payloadBytes, batch: o.batch}
	})
}

// httpGet measures GET of the paths that a file names, each connection beginning at another one.
func httpGet(o options) (figures, error) {
	l, err := newLoop(o.ports)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(o.paths)
	if err != nil {
		return nil, err
	}
	paths := strings.Fields(string(text))
	reader := token(o.secret, "reader")
	return exchange(l, o, func(i int) *httpClient {
		return &httpClient{paths: paths, next: i * len(paths) / o.connections, batch: 1, token: reader}
	})
}

// exchange keeps a request in flight on each connection, and measures after a second.
func exchange(l *loop, o options, build func(i int) *httpClient) (figures, error) {
	var taken latencies
	for i := range o.connections {
		h := build(i)
		h.node = i
		h.onReply = func(took time.Duration) { taken = append(taken, took) }
		h.onOpen, h.onReceive = h.request, h.parse
		if err := l.dial(&h.socket); err != nil {
			return nil, err
		}
	}
	if err := l.runFor(time.Second); err != nil {
		return nil, err
	}
	taken = taken[:0]
	use := startUsage(o)
	if err := l.runFor(o.duration); err != nil {
		return nil, err
	}
	out := use.figures(len(taken) * o.batch)
	taken.add(out)
	return out, nil
}

func (h *httpClient) request() {
	if h.paths != nil {
		path := h.paths[h.next%len(h.paths)]
		h.next++
		h.sent = time.Now()
		h.send(fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n", path, h.token))
		return
	}
	path, body := "/api/publish", h.publication(0)
	if h.batch > 1 {
		commands := make([]string, h.batch)
		for i := range commands {
			commands[i] = `{"publish":` + h.publication(i) + `}`
		}
		path, body = "/api/batch", `{"commands":[`+strings.Join(commands, ",")+`]}`
	}
	h.sent = time.Now()
	h.send(fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n\r\n%s", path, len(body), body))
}

func (h *httpClient) publication(i int) string {
	return fmt.Sprintf(`{"channel":"%s-%d","data":%s}`, h.prefix, i, payload(h.size))
}

func (h *httpClient) parse(chunk []byte) (used int) {
	head, body, found := bytes.Cut(chunk, []byte("\r\n\r\n"))
	if !found {
		return 0
	}
	length, err := contentLength(head)
	if err != nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		h.loop.fail(fmt.Errorf("bad answer %q: %w", head, err))
		return len(chunk)
	}
	if len(body) < length {
		return 0
	}
	if bytes.Contains(body[:length], []byte(`"error"`)) {
		h.loop.fail(fmt.Errorf("answer: %s", body[:length]))
	}
	h.onReply(time.Since(h.sent))
	h.request()
	return len(head) + 4 + length
}

func contentLength(head []byte) (int, error) {
	_, after, _ := bytes.Cut(bytes.ToLower(head), []byte("\r\ncontent-length:"))
	value, _, _ := bytes.Cut(after, []byte("\r\n"))
	return strconv.Atoi(string(bytes.TrimSpace(value)))
}
