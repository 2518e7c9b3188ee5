package wal

import (
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// Trust ends the duty to abstain by decision of the owner: a sole voter whose
// operator removed a damaged vote file has nobody to learn from, and nobody
// that it could have voted for. The vote is saved without the duty.
func (s *Store) Trust(v wire.Vote) error {
	if err := s.Err(); err != nil {
		return err
	}
	s.untrusted = false
	s.votes.Trust()
	if err := s.keep(s.votes.Save(v)); err != nil {
		return fmt.Errorf("cannot trust the vote: %w", err)
	}
	return nil
}
