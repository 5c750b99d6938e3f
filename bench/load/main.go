// Command load puts one kind of load on a server that speaks Centrifugo's JSON protocol, and prints what it measured
// as one JSON object. CPU seconds are those of the server's process.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figures are what a measurement found, by name, units last.
type figures map[string]float64

// list is an option of several numbers, separated by commas.
type list []int

func (l *list) String() string { return fmt.Sprint(*l) }

func (l *list) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		number, err := strconv.Atoi(part)
		if err != nil {
			return err
		}
		*l = append(*l, number)
	}
	return nil
}

// options of all measurements; each uses those that mean something to it.
type options struct {
	ports, pids  list
	storePid     int
	connections  int
	rate         int
	inFlight     int
	batch        int
	missed       int
	channels     int
	payloadBytes int
	ownChannel   bool
	secret       string
	paths        string
	duration     time.Duration
	settle       time.Duration
}

var measurements = map[string]func(options) (figures, error){
	"paced":     paced,
	"saturated": saturated,
	"storm":     storm,
	"cold":      coldStorm,
	"soak":      soak,
	"idle":      idle,
	"http":      httpPublish,
	"get":       httpGet,
	"connect":   connect,
	"channels":  channels,
	"publish":   publish,
	"nats":      natsPublish,
}

func main() {
	if len(os.Args) < 2 || measurements[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: load", strings.Join(names(), "|"), "[options]")
		os.Exit(2)
	}
	o := parseOptions(os.Args[1], os.Args[2:])
	result, err := measurements[os.Args[1]](o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func names() []string {
	var all []string
	for name := range measurements {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func parseOptions(name string, arguments []string) (o options) {
	set := flag.NewFlagSet(name, flag.ExitOnError)
	set.Var(&o.ports, "ports", "of the server's nodes, on 127.0.0.1: the clients are spread over them")
	set.Var(&o.pids, "pids", "the server's processes")
	set.IntVar(&o.storePid, "store-pid", 0, "the process of the store beside the server, if it is one")
	set.IntVar(&o.connections, "connections", 32, "connections, subscribers or clients")
	set.IntVar(&o.rate, "rate", 50, "messages per second")
	set.IntVar(&o.inFlight, "in-flight", 256, "messages in flight over all connections")
	set.IntVar(&o.batch, "batch", 1, "publications per request")
	set.IntVar(&o.missed, "missed", 100, "messages that each client has missed")
	set.IntVar(&o.channels, "channels", 1, "channels that the connections are spread over")
	set.IntVar(&o.payloadBytes, "payload-bytes", 128, "bytes of a message's data")
	set.BoolVar(&o.ownChannel, "own-channel", false, "a channel for each connection instead of one for all")
	set.StringVar(&o.secret, "secret", "", "what connection tokens are signed with")
	set.StringVar(&o.paths, "paths", "", "a file of the paths to get, one a line")
	set.DurationVar(&o.duration, "duration", 5*time.Second, "how long to measure")
	set.DurationVar(&o.settle, "settle", 3*time.Second, "how long to wait before memory is read")
	_ = set.Parse(arguments)
	return o
}
