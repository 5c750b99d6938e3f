package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/segmentio/encoding/json"
)

const (
	soakRooms   = 50
	soakSeed    = 1
	soakLife    = 4 * time.Second // at most, of one connection
	soakPublish = 500 * time.Millisecond
	soakWarmUp  = 2 * time.Second
	soakSettle  = 2 * time.Second
)

// soak lets clients come and go all the time, and looks every second at what the processes of the server hold. A client
// connects with a token, subscribes to a room and to one of many channels, publishes to both, and is gone within seconds:
// it closes its WebSocket, or is cut. Every second one comes back and recovers what it missed in its room.
//
// Memory is compared from a tenth of the time that follows the first fifth to the last tenth, as medians; descriptors
// from before the clients to after them.
func soak(o options) (figures, error) {
	l, err := newLoop(o.ports)
	if err != nil {
		return nil, err
	}
	s := &soaking{loop: l, options: o, dice: rand.New(rand.NewPCG(soakSeed, 0)), slots: make([]*soaker, o.connections)}
	if err := s.churn(soakWarmUp); err != nil {
		return nil, err
	}
	before, err := look(o.pids)
	if err != nil {
		return nil, err
	}
	s.deliveries, s.connects, s.looks = 0, 0, nil
	use := startUsage(o)
	if err := s.churn(o.duration); err != nil {
		return nil, err
	}
	out := use.figures(s.deliveries)
	out["connects"] = float64(s.connects)
	after, err := look(o.pids)
	if err != nil {
		return nil, err
	}
	for i := range o.pids {
		out["descriptors_left"] = max(out["descriptors_left"], float64(after[i].descriptors-before[i].descriptors))
	}
	s.addDrift(out)
	return out, nil
}

// holding is what a process holds at some moment.
type holding struct {
	residentBytes, descriptors int
}

func look(pids []int) ([]holding, error) {
	held := make([]holding, len(pids))
	for i, pid := range pids {
		resident, err := residentBytes(pid)
		if err != nil {
			return nil, err
		}
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return nil, err
		}
		held[i] = holding{resident, len(open)}
	}
	return held, nil
}

type soaking struct {
	loop       *loop
	options    options
	dice       *rand.Rand
	slots      []*soaker
	looks      [][]holding
	connects   int
	deliveries int
}

// soaker is one connection of a client.
type soaker struct {
	client
	own            string
	number         int
	stood          *position // in its room
	leaves, writes time.Time
}

// churn lets clients come and go for so long, then all go, and waits for the server to notice.
func (s *soaking) churn(duration time.Duration) error {
	began := time.Now()
	for now := began; now.Sub(began) < duration; now = time.Now() {
		if now.Sub(began) >= time.Duration(len(s.looks))*time.Second {
			held, err := look(s.options.pids)
			if err != nil {
				return err
			}
			s.looks = append(s.looks, held)
		}
		for i, c := range s.slots {
			if err := s.attend(i, c, now); err != nil {
				return err
			}
		}
		if err := s.loop.turn(5 * time.Millisecond); err != nil {
			return err
		}
	}
	for i, c := range s.slots {
		if c != nil {
			c.close()
		}
		s.slots[i] = nil
	}
	return s.loop.runFor(soakSettle)
}

// attend does what is due for the client in a slot.
func (s *soaking) attend(slot int, c *soaker, now time.Time) error {
	switch {
	case c == nil || now.After(c.leaves):
		next, err := s.arrive(slot, now)
		if err == nil && c != nil {
			s.leave(c, next)
		}
		if err == nil {
			err = s.loop.openClient(&next.client)
		}
		s.slots[slot] = next
		return err
	case c.ready && now.After(c.writes):
		c.writes = now.Add(soakPublish)
		c.command(publishCommand(4, c.channel, payload(s.options.payloadBytes)) + "\n" +
			publishCommand(5, c.own, payload(s.options.payloadBytes)))
	}
	return nil
}

// arrive makes the next client of a slot.
func (s *soaking) arrive(slot int, now time.Time) (*soaker, error) {
	s.connects++
	c := &soaker{number: s.connects, own: fmt.Sprintf("soak:own-%d", s.connects%s.options.channels)}
	c.client = client{
		channel: fmt.Sprintf("soak:room-%d", slot%soakRooms),
		token:   token(s.options.secret, fmt.Sprintf("user-%d", s.connects)),
		onLine:  func(_ *client, line []byte) { s.hear(c, line) },
	}
	c.onReady = func(_ *client, r *reply) {
		if c.since != nil && !r.Subscribe.Recovered {
			s.loop.fail(fmt.Errorf("a client was not recovered"))
		}
		c.stood = &r.Subscribe.position
		for _, p := range r.Subscribe.Publications {
			s.deliveries++
			c.stood.Offset = p.Offset
		}
		c.command(fmt.Sprintf(`{"id":3,"subscribe":{"channel":%q}}`, c.own))
	}
	c.node = slot / soakRooms
	c.leaves = now.Add(soakLife/4 + time.Duration(s.dice.Int64N(int64(soakLife*3/4))))
	c.writes = now.Add(time.Duration(s.dice.Int64N(int64(soakPublish))))
	return c, nil
}

// hear counts what is delivered, and keeps where the client stands in its room.
func (s *soaking) hear(c *soaker, line []byte) {
	var r reply
	if err := json.Unmarshal(line, &r); err != nil || r.Error != nil {
		s.loop.fail(fmt.Errorf("bad line %q: %w", line, err))
		return
	}
	if r.Push == nil || r.Push.Publication == nil {
		return
	}
	s.deliveries++
	if r.Push.Channel == c.channel {
		c.stood.Offset = r.Push.Publication.Offset
	}
}

// leave ends a connection, in one of two ways; every second client comes back as the next one, to the node beside.
func (s *soaking) leave(c, next *soaker) {
	if c.number%2 == 0 {
		next.since = c.stood
		next.node = c.node + 1
	}
	if c.ready && s.dice.IntN(2) == 0 {
		c.send([]byte{0x80 | opClose, 0x80, 0, 0, 0, 0})
	}
	c.close()
}

// addDrift notes the memory of the process whose memory grew most, in share of what it was, and by how much.
func (s *soaking) addDrift(out figures) {
	fifth, tenth := len(s.looks)/5, max(len(s.looks)/10, 1)
	for i := range s.options.pids {
		first, last := s.median(fifth, fifth+tenth, i), s.median(len(s.looks)-tenth, len(s.looks), i)
		if drift := 100 * (last - first) / first; i == 0 || drift > out["drift_percent"] {
			out["drift_percent"], out["first_mib"], out["last_mib"] = drift, first/(1<<20), last/(1<<20)
		}
	}
}

func (s *soaking) median(from, to, process int) float64 {
	var resident []int
	for _, held := range s.looks[from:min(to, len(s.looks))] {
		resident = append(resident, held[process].residentBytes)
	}
	slices.Sort(resident)
	return float64(resident[len(resident)/2])
}
