package main

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

var sentMark = []byte(`{"sent_ns":`)

// payload is a JSON object of so many bytes that carries the time it was made.
func payload(size int) string {
	head := string(sentMark) + strconv.FormatInt(time.Now().UnixNano(), 10) + `,"text":"`
	return head + strings.Repeat("x", max(size-len(head)-2, 0)) + `"}`
}

// sentAt reads the time out of a line that contains a payload.
func sentAt(line []byte) (time.Time, bool) {
	_, digits, found := bytes.Cut(line, sentMark)
	end := bytes.IndexByte(digits, ',')
	if !found || end < 0 {
		return time.Time{}, false
	}
	sent, err := strconv.ParseInt(string(digits[:end]), 10, 64)
	return time.Unix(0, sent), err == nil
}
