package wal

import (
	"errors"

	"github.com/dnode-engine/dnode/wire"
)

// Store is a data folder's log and vote file together: what a replica keeps on
// disk. A failure of either fences both. It is used by one goroutine at a time.
type Store struct {
	log    *Log
	votes  *Votes
	fenced error
}

// OpenStore opens or founds the vote file and the log. The vote file is made
// before the log: a log without one means that votes were lost.
func OpenStore(fs FS, opt Options) (*Store, *Recovered, VoteState, error) {
	votes, state, err := OpenVotes(fs, opt.Owner)
	if err != nil {
		return nil, nil, state, err
	}
	log, rec, err := Open(fs, opt)
	if err != nil {
		return nil, nil, state, errors.Join(err, votes.Close())
	}
	return &Store{log: log, votes: votes}, rec, state, nil
}

// logExists reports whether the folder has segments.
func logExists(fs FS) (bool, error) {
	names, err := fs.List(walDir)
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	for _, base := range names {
		if _, ok := segmentNumber(base); ok {
			return true, nil
		}
	}
	return false, err
}

// Err returns what has stopped the store for ever, or nil. The log may have
// fenced itself while it took over a segment, when no call could say so.
func (s *Store) Err() error {
	if s.fenced == nil {
		s.fenced = s.log.fenced
	}
	return s.fenced
}

// Append is Log.Append.
func (s *Store) Append(runs [][]byte) error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.keep(s.log.Append(runs))
}

// Sync is Log.Sync.
func (s *Store) Sync() error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.keep(s.log.Sync())
}

// Read is Log.Read. It works after a fence too.
func (s *Store) Read(dst []byte, lo wire.Index, maxBytes int) ([]byte, error) {
	return s.log.Read(dst, lo, maxBytes)
}

// SaveVote makes the vote durable, and with it whether the node must abstain.
func (s *Store) SaveVote(v wire.Vote) error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.keep(s.votes.Save(v))
}

// Seal is Log.Seal.
func (s *Store) Seal() error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.keep(s.log.Seal())
}

// Close seals and closes everything.
func (s *Store) Close() error {
	if s.fenced != nil && s.log.fenced == nil {
		s.log.fenced = s.fenced // no more writes
	}
	return errors.Join(s.log.Close(), s.votes.Close())
}

// Log gives access to what the shell needs besides: NeedsSegment,
// SegmentReady, First, Last.
func (s *Store) Log() *Log { return s.log }

// keep remembers a fence.
func (s *Store) keep(err error) error {
	if errors.Is(err, ErrFenced) {
		s.fenced = err
	}
	return err
}
