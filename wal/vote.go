package wal

import (
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

const (
	voteName  = "vote"
	voteTemp  = "vote.tmp"
	slotBytes = 72
	// slotStride keeps the slots in different pages and physical sectors.
	slotStride = 4096
	voteBytes  = 2 * slotStride
)

var voteMagic = [8]byte{'d', 'n', 'o', 'd', 'e', 'V', 'O', 'T'}

// VoteState is what the vote file says at start.
type VoteState struct {
	Vote wire.Vote // zero if Fresh; its Abstain is that below
	// Abstain: the file may have forgotten a vote. The node must not vote or
	// pre-vote until it has accepted entries from a current leader; a single
	// node must not start. With a Term of zero nothing is left of the vote: then
	// no node may, for its forgotten vote may have ruled out what it would accept.
	Abstain bool
	// Fresh: there was no file, it has been made.
	Fresh bool
	// Mended: one slot was not valid. The other holds all that was relied on, and
	// has been written over it.
	Mended bool
}

// Votes keeps the term and vote in a file of two checksummed slots. It is used
// by one goroutine at a time.
type Votes struct {
	fs      FS
	file    File
	owner   wire.ReplicaID
	version uint64
	fenced  error
	buf     [slotBytes]byte
}

// slot is one copy of the vote.
type slot struct {
	version uint64
	vote    wire.Vote
	owner   wire.ReplicaID
	format  uint32 // as read; zero: formatVersion
}

// OpenVotes reads the vote file, or makes it. One valid slot is enough. Two must
// be equal, or the first one version ahead; otherwise the state says Abstain, and
// so it does if neither is valid, or if a log is there without the file. What is
// returned has been written to both slots again and synced, unless neither was
// valid: that file is left as it is.
func OpenVotes(fs FS, owner wire.ReplicaID) (*Votes, VoteState, error) {
	v, st, err := openVotes(fs, owner)
	if err != nil {
		return nil, st, fmt.Errorf("cannot open the vote file: %w", err)
	}
	return v, st, nil
}

func openVotes(fs FS, owner wire.ReplicaID) (*Votes, VoteState, error) {
	v := &Votes{fs: fs, owner: owner}
	f, err := fs.Open(voteName)
	if errors.Is(err, ErrNotExist) {
		return v.create()
	}
	if err != nil {
		return nil, VoteState{}, err
	}
	v.file = f
	st, worse, err := v.load()
	if err == nil && v.version > 0 { // else nothing is known, and the file may be all there is
		// The same version again: the page cache may show what the disk has
		// not, and slot 1 must have a version before slot 0 gets the next.
		err = v.write(v.version, st.Vote, worse)
	}
	if err != nil {
		return nil, VoteState{}, errors.Join(err, f.Close())
	}
	return v, st, nil
}

// create leaves a whole, synced file, or none. Beside a log it holds from the
// first moment on that votes were lost.
func (v *Votes) create() (*Votes, VoteState, error) {
	used, err := logExists(v.fs)
	if err != nil {
		return nil, VoteState{}, err
	}
	st := VoteState{Vote: wire.Vote{Abstain: used}, Abstain: used, Fresh: true}
	v.version = 1
	content := make([]byte, voteBytes)
	for i := range 2 {
		putSlot(content[i*slotStride:], i, &slot{version: 1, vote: st.Vote, owner: v.owner})
	}
	if err := replaceFile(v.fs, voteName, voteTemp, content); err != nil {
		return nil, st, err
	}
	v.file, err = v.fs.Open(voteName)
	return v, st, err
}

// load also returns which slot is to be written first.
func (v *Votes) load() (st VoteState, worse int, err error) {
	fenced, err := fenceMarkerLeft(v.fs)
	if err == nil && fenced {
		err = dropCache(v.file)
	}
	if err != nil {
		return VoteState{}, 0, err
	}
	slots, valid := readSlots(v.file)
	if err := checkSlots(slots, valid, v.owner); err != nil {
		return VoteState{}, 0, err
	}
	v.version = max(slots[0].version, slots[1].version)
	st, worse = judgeSlots(slots, valid)
	return st, worse, nil
}

// readSlots reads both slots. One that cannot be read is not valid.
func readSlots(f File) (slots [2]slot, valid [2]bool) {
	for i := range slots {
		var b [slotBytes]byte
		if n, err := f.ReadAt(b[:], int64(i)*slotStride); err == nil {
			slots[i], valid[i] = parseSlot(b[:n], i)
		}
	}
	return slots, valid
}

// checkSlots refuses a file that is not this replica's, if it is known which that
// is, or not this program's.
func checkSlots(slots [2]slot, valid [2]bool, owner wire.ReplicaID) error {
	for i := range slots {
		if slots[i].format > formatVersion {
			return fmt.Errorf("slot %d of the vote file has format version %d, this program knows %d", i, slots[i].format, formatVersion)
		}
		if valid[i] && owner != (wire.ReplicaID{}) && slots[i].owner != owner {
			return fmt.Errorf("%w: slot %d of the vote file is of replica %s, this is %s", ErrOwner, i, slots[i].owner, owner)
		}
	}
	return nil
}

// judgeSlots applies the rule: slot 1 gets a version before slot 0 gets the next.
// A version is relied on when both have it, so that either slot alone says all
// that was. Two that do not fit each other tell of a write that was lost: then the
// newer one may be old, too. Of the same version slot 1 is right: it was written
// when slot 0 was on the disk. The worse slot is to be written over first, so that
// a write that fails takes nothing with it; of two that fit that is slot 0, for its
// version may be in the page cache alone.
func judgeSlots(slots [2]slot, valid [2]bool) (st VoteState, worse int) {
	a, b := slots[0], slots[1]
	st.Mended = valid[0] != valid[1]
	ahead := valid[0] && valid[1] && a.version == b.version+1
	switch {
	case valid[0] && (!valid[1] || a.version > b.version):
		st.Vote = a.vote
		if !ahead {
			worse = 1
		}
	case valid[1]:
		st.Vote = b.vote
	}
	if !st.Mended && !ahead && (!valid[0] || a != b) {
		st.Vote.Abstain = true
	}
	st.Abstain = st.Vote.Abstain
	return st, worse
}

// Save makes the vote durable: slot 0, sync, slot 1, sync. A failure fences
// for ever, except that on ErrNoSpace nothing has changed.
func (v *Votes) Save(vote wire.Vote) error {
	if v.fenced != nil {
		return v.fenced
	}
	return v.write(v.version+1, vote, 0)
}

func (v *Votes) write(version uint64, vote wire.Vote, first int) error {
	s := slot{version: version, vote: vote, owner: v.owner}
	for _, i := range [2]int{first, 1 - first} {
		putSlot(v.buf[:], i, &s)
		err := writeFull(v.file, v.buf[:], int64(i)*slotStride)
		if i == first && errors.Is(err, ErrNoSpace) {
			// A part of the slot may be overwritten: the other still stands.
			return fmt.Errorf("cannot save the vote: %w", err)
		}
		if err == nil {
			err = v.file.Sync()
		}
		if err != nil {
			v.fenced = fmt.Errorf("%w: %w", ErrFenced, err)
			leaveFenceMarker(v.fs)
			return fmt.Errorf("cannot save the vote: %w", v.fenced)
		}
	}
	v.version = version
	return nil
}

// Close closes the file.
func (v *Votes) Close() error { return v.file.Close() }

// putSlot fills b[:slotBytes]. The slot's number is under its checksum, so
// that a misdirected write is damage.
func putSlot(b []byte, number int, s *slot) {
	copy(b, voteMagic[:])
	le.PutUint32(b[8:], formatVersion)
	le.PutUint32(b[12:], uint32(number))
	le.PutUint64(b[16:], s.version)
	le.PutUint64(b[24:], uint64(s.vote.Term))
	le.PutUint64(b[32:], uint64(s.vote.For))
	copy(b[40:], s.owner[:])
	le.PutUint32(b[56:], 0)
	if s.vote.Abstain {
		le.PutUint32(b[56:], 1)
	}
	clear(b[60:68])
	le.PutUint32(b[68:], wire.Checksum(b[:68]))
}

func parseSlot(b []byte, number int) (slot, bool) {
	if len(b) < slotBytes || [8]byte(b[:8]) != voteMagic || le.Uint32(b[68:]) != wire.Checksum(b[:68]) || le.Uint32(b[12:]) != uint32(number) {
		return slot{}, false
	}
	if v := le.Uint32(b[8:]); v != formatVersion {
		return slot{format: v}, false
	}
	return slot{
		version: le.Uint64(b[16:]),
		vote:    wire.Vote{Term: wire.Term(le.Uint64(b[24:])), For: wire.NodeID(le.Uint64(b[32:])), Abstain: le.Uint32(b[56:]) != 0},
		owner:   wire.ReplicaID(b[40:56]),
	}, true
}
