package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsPublish measures acknowledged JetStream publishes to a file store, as many in flight as publish has.
func natsPublish(o options) (figures, error) {
	ctx, stop := context.WithTimeout(context.Background(), o.duration+30*time.Second)
	defer stop()
	streams := make([]jetstream.JetStream, o.connections)
	for i := range streams {
		connection, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", o.ports[0]))
		if err != nil {
			return nil, err
		}
		defer connection.Close()
		if streams[i], err = jetstream.New(connection); err != nil {
			return nil, err
		}
	}
	config := jetstream.StreamConfig{Name: "bench", Subjects: []string{"bench.*"}, MaxMsgsPerSubject: 1000}
	if _, err := streams[0].CreateStream(ctx, config); err != nil {
		return nil, err
	}
	use := startUsage(o)
	taken, err := natsLoad(ctx, streams, o)
	if err != nil {
		return nil, err
	}
	out := use.figures(len(taken))
	taken.add(out)
	return out, nil
}

// natsLoad runs one goroutine for each message in flight.
func natsLoad(ctx context.Context, streams []jetstream.JetStream, o options) (taken latencies, err error) {
	var all sync.WaitGroup
	var lock sync.Mutex
	end := time.Now().Add(o.duration)
	for i := range o.inFlight {
		all.Go(func() {
			stream, subject := streams[i%len(streams)], fmt.Sprintf("bench.room-%d", i%len(streams))
			for time.Now().Before(end) {
				began := time.Now()
				_, failure := stream.Publish(ctx, subject, []byte(payload(o.payloadBytes)))
				took := time.Since(began)
				lock.Lock()
				if failure != nil {
					err = failure
				}
				taken = append(taken, took)
				lock.Unlock()
				if failure != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return taken, err
}
