package disk

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/node/replica"
	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wire"
)

// Disk carries out storage effects on one store. It is not safe for concurrent
// use.
type Disk struct {
	store  replica.LogStore
	failed error // Invariant: once set, nothing is written any more
	runs   [][]byte
	idle   bool
}

// New returns a Disk over a store that recovery has opened.
func New(store replica.LogStore) *Disk { return &Disk{store: store, idle: true} }

// Write makes the given batches durable, in order, with one sync. It keeps
// nothing of them. An error that wal.Passes says that the disk is full, or that no
// file can be opened, and nothing may be acknowledged: the same batches are to be
// given again, before any others, when that may be over. Any other error is for
// ever: every later Write fails with it.
func (d *Disk) Write(batches []replica.Store) replica.Completion {
	done := replica.Completion{Seq: batches[len(batches)-1].Seq}
	if d.failed != nil {
		done.Err = d.failed
		return done
	}
	done.Err = d.write(batches)
	if !wal.Passes(done.Err) {
		d.failed = done.Err
	}
	return done
}

func (d *Disk) write(batches []replica.Store) error {
	for i := len(batches) - 1; i >= 0; i-- {
		if batches[i].SaveVote {
			if err := d.store.SaveVote(batches[i].Vote); err != nil {
				return fmt.Errorf("cannot save vote: %w", err)
			}
			break
		}
	}
	last := wire.Index(0)
	appended := false
	for i := range batches {
		b := &batches[i]
		if len(b.Append) == 0 {
			continue
		}
		appended = true
		if len(d.runs) > 0 && firstIndex(b.Append[0]) != last+1 {
			if err := d.flush(); err != nil {
				return err
			}
		}
		d.runs = append(d.runs, b.Append...)
		last = b.Last
	}
	if !appended {
		return nil
	}
	if err := d.flush(); err != nil {
		return err
	}
	d.idle = false
	err := d.store.Sync()
	if wal.Passes(err) {
		err = errors.New(err.Error()) // a failed sync is for ever, whatever made it fail
	}
	if err != nil {
		return fmt.Errorf("cannot sync log: %w", err)
	}
	return nil
}

// flush appends the collected runs as one group.
func (d *Disk) flush() error {
	err := d.store.Append(d.runs)
	clear(d.runs)
	d.runs = d.runs[:0]
	if err != nil {
		return fmt.Errorf("cannot append to log: %w", err)
	}
	return nil
}

// firstIndex reads the index of the first entry of a run that was encoded here.
func firstIndex(run []byte) wire.Index { return wire.Index(binary.LittleEndian.Uint64(run[8:])) }

// Read carries out one read. The data is the caller's.
func (d *Disk) Read(q replica.ReadRequest) replica.ReadDone {
	done := replica.ReadDone{Peer: q.Peer, Lo: q.Lo, Hi: q.Hi}
	data, err := d.store.Read(nil, q.Lo, q.MaxBytes)
	if err != nil {
		done.Err = fmt.Errorf("cannot read entries from %d on: %w", q.Lo, err)
		return done
	}
	done.Data = data
	return done
}

// Idle is called when nothing was written for a while, about once a second. It
// seals the log once after the last write, so that damage to its end can be told
// from a torn write.
func (d *Disk) Idle() error {
	if d.idle || d.failed != nil {
		return d.failed
	}
	d.idle = true
	switch err := d.store.Seal(); {
	case wal.Passes(err):
		d.idle = false
	case err != nil:
		d.failed = fmt.Errorf("cannot seal log: %w", err)
	}
	return d.failed
}

// Err returns the error that stopped the disk, or nil.
func (d *Disk) Err() error { return d.failed }

// Recovered turns what recovery found into the state that a replica starts
// from. boot is the configuration to use when the log holds none yet.
func Recovered(log *wal.Recovered, votes wal.VoteState, boot wire.Membership) (replica.State, error) {
	st := replica.State{
		Vote: votes.Vote, Abstain: votes.Abstain,
		Fresh: votes.Fresh && log.Last == 0,
		First: log.First, Last: log.Last, Runs: log.Runs,
		LastTime: log.LastTime,
		Members:  boot,
	}
	for _, c := range log.Configs {
		if len(c.Payload) < 8 {
			return replica.State{}, fmt.Errorf("cannot read configuration entry %d: %d bytes", c.Index, len(c.Payload))
		}
		m, err := wire.ParseMembership(c.Payload[8:])
		if err != nil {
			return replica.State{}, fmt.Errorf("cannot read configuration entry %d: %w", c.Index, err)
		}
		switch {
		case st.MembersIndex != 0:
			st.Older = append(st.Older, replica.ConfigAt{Index: st.MembersIndex, Members: st.Members})
		case log.First == 1: // the founding entry: another leader's may yet take its place
			founders := m
			founders.Cluster = wire.ClusterID{}
			st.Older = append(st.Older, replica.ConfigAt{Members: founders})
		}
		st.MembersIndex, st.Members = c.Index, m
	}
	return st, nil
}
