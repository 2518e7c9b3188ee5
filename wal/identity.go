package wal

import (
	"errors"
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

const (
	identityName = "identity"
	identityTemp = "identity.tmp"

	identityFixedBytes = 64 // before the name; the CRC follows it
)

var identityMagic = [8]byte{'d', 'n', 'o', 'd', 'e', 'I', 'D', 0}

// Identity is who a data folder belongs to.
type Identity struct {
	Replica wire.ReplicaID // drawn at first start
	Name    string         // at most wire.MaxNameBytes
	Cluster wire.ClusterID // zero until the first configuration entry is committed
	ID      wire.NodeID    // zero until then
	// LastSealed is the last segment known to be sealed. The log keeps it.
	LastSealed uint64
}

// LoadIdentity reads the identity file. The error wraps ErrNotExist in a new
// folder, and is a *CorruptError if the file is damaged.
func LoadIdentity(fs FS) (Identity, error) {
	b, err := readSmall(fs, identityName, identityFixedBytes+wire.MaxNameBytes+4)
	if err != nil {
		return Identity{}, fmt.Errorf("cannot load the identity: %w", err)
	}
	id, reason := parseIdentity(b)
	if reason != "" {
		return Identity{}, fmt.Errorf("cannot load the identity: %w", &CorruptError{File: identityName, Reason: reason})
	}
	return id, nil
}

// SaveIdentity replaces the identity file, atomically and durably. The file's
// LastSealed never goes back. Call it on the goroutine that runs the log: the
// log saves to the same file.
func SaveIdentity(fs FS, id Identity) error {
	if len(id.Name) > wire.MaxNameBytes {
		return fmt.Errorf("cannot save the identity: %w: name of %d bytes", wire.ErrTooLarge, len(id.Name))
	}
	switch old, err := LoadIdentity(fs); {
	case err == nil:
		id.LastSealed = max(id.LastSealed, old.LastSealed)
	case !errors.Is(err, ErrNotExist):
		return err
	}
	if err := replaceFile(fs, identityName, identityTemp, appendIdentity(nil, &id)); err != nil {
		return fmt.Errorf("cannot save the identity: %w", err)
	}
	return nil
}

// recordSealed raises LastSealed in the identity file, if there is one.
func recordSealed(fs FS, number uint64) error {
	id, err := LoadIdentity(fs)
	if err != nil || id.LastSealed >= number {
		return err
	}
	id.LastSealed = number
	return SaveIdentity(fs, id)
}

func appendIdentity(dst []byte, id *Identity) []byte {
	start := len(dst)
	dst = append(dst, identityMagic[:]...)
	dst = le.AppendUint32(dst, formatVersion)
	dst = append(dst, id.Replica[:]...)
	dst = append(dst, id.Cluster[:]...)
	dst = le.AppendUint64(dst, uint64(id.ID))
	dst = le.AppendUint64(dst, id.LastSealed)
	dst = le.AppendUint32(dst, uint32(len(id.Name)))
	dst = append(dst, id.Name...)
	return le.AppendUint32(dst, wire.Checksum(dst[start:]))
}

// parseIdentity returns a reason if b is not a whole identity.
func parseIdentity(b []byte) (id Identity, reason string) {
	if len(b) < identityFixedBytes+4 || [8]byte(b[:8]) != identityMagic {
		return id, "it has no magic"
	}
	if n := len(b) - 4; le.Uint32(b[n:]) != wire.Checksum(b[:n]) {
		return id, "its checksum does not match"
	}
	if v := le.Uint32(b[8:]); v != formatVersion {
		return id, fmt.Sprintf("it has format version %d, this program knows %d", v, formatVersion)
	}
	name := b[identityFixedBytes : len(b)-4]
	if uint32(len(name)) != le.Uint32(b[60:]) || len(name) > wire.MaxNameBytes {
		return id, "its name has a wrong length"
	}
	return Identity{
		Replica: wire.ReplicaID(b[12:28]), Cluster: wire.ClusterID(b[28:44]),
		ID: wire.NodeID(le.Uint64(b[44:])), LastSealed: le.Uint64(b[52:]), Name: string(name),
	}, ""
}

// readSmall reads a whole file of at most limit bytes.
func readSmall(fs FS, name string, limit int) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	b := make([]byte, limit+1)
	n, err := f.ReadAt(b, 0)
	return b[:n], errors.Join(err, f.Close())
}

// replaceFile writes a small file so that after a crash either the old or the
// new one is there, whole.
func replaceFile(fs FS, name, temp string, content []byte) error {
	f, err := fs.Create(temp)
	if err != nil {
		return err
	}
	err = writeFull(f, content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(temp, name); err != nil {
		return err
	}
	return fs.SyncDir(rootDir)
}
