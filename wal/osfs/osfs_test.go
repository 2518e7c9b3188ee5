package osfs_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/osfs"
	"github.com/dnode-engine/dnode/wire"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, dir string) *osfs.FS {
	t.Helper()
	fs, err := osfs.Open(dir)
	must(t, err)
	return fs
}

// The second user of a folder is told which folder, and may have it after the
// first is gone.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	fs := open(t, dir)
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v", st.Mode(), err)
	}
	for _, again := range []func(string) (*osfs.FS, error){osfs.Open, osfs.OpenReadOnly} {
		if _, err := again(dir); !errors.Is(err, wal.ErrLocked) || !strings.Contains(err.Error(), dir) {
			t.Errorf("second user: %v", err)
		}
	}
	must(t, fs.Close())
	a, err := osfs.OpenReadOnly(dir)
	must(t, err)
	b, err := osfs.OpenReadOnly(dir)
	must(t, err)
	if _, err := osfs.Open(dir); !errors.Is(err, wal.ErrLocked) {
		t.Errorf("writer beside readers: %v", err)
	}
	must(t, errors.Join(a.Close(), b.Close()))
	must(t, open(t, dir).Close())
}

func TestFiles(t *testing.T) {
	fs := open(t, t.TempDir())
	defer fs.Close()
	must(t, fs.MkdirAll("wal"))
	f, err := fs.Create("wal/x")
	must(t, err)
	if n, err := f.WriteAt([]byte("hello"), 3); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	must(t, f.Sync())
	buf := make([]byte, 10)
	if n, err := f.ReadAt(buf, 2); n != 6 || err != nil || !bytes.Equal(buf[:6], []byte("\x00hello")) {
		t.Fatalf("%d %v %q", n, err, buf)
	}
	if n, err := f.ReadAt(buf, 100); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := f.Size(); n != 8 || err != nil {
		t.Fatal(n, err)
	}
	must(t, f.(wal.CacheDropper).DropCache())
	must(t, f.Close())
	must(t, fs.Rename("wal/x", "wal/y"))
	must(t, fs.SyncDir("wal"))
	must(t, fs.SyncDir(""))
	if names, err := fs.List("wal"); err != nil || len(names) != 1 || names[0] != "y" {
		t.Fatal(names, err)
	}
	for _, err := range []error{second(fs.Open("wal/x")), fs.Remove("wal/x"), fs.Rename("wal/x", "wal/z"), second(fs.List("none"))} {
		if !errors.Is(err, wal.ErrNotExist) {
			t.Error(err)
		}
	}
	for _, name := range []string{"../x", "/etc/passwd", "wal/../../x", "wal//y", "."} {
		if _, err := fs.Create(name); err == nil {
			t.Errorf("%q was created", name)
		}
	}
	must(t, fs.Remove("wal/y"))
}

func second[T any](_ T, err error) error { return err }

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	fs := open(t, dir)
	f, err := fs.Create("x")
	must(t, err)
	must(t, errors.Join(f.Close(), fs.Close()))
	ro, err := osfs.OpenReadOnly(dir)
	must(t, err)
	defer ro.Close()
	f, err = ro.Open("x")
	must(t, err)
	defer f.Close()
	_, werr := f.WriteAt([]byte("x"), 0)
	for _, err := range []error{werr, second(ro.Create("y")), ro.Remove("x"), ro.Rename("x", "y"), ro.MkdirAll("d"), ro.SyncDir("")} {
		if err == nil {
			t.Error("a read-only folder was changed")
		}
	}
	if _, err := osfs.OpenReadOnly(filepath.Join(dir, "none")); !errors.Is(err, wal.ErrNotExist) {
		t.Error(err)
	}
}

// A store on the real file system, opened again.
func TestStoreOnDisk(t *testing.T) {
	dir := t.TempDir()
	opt := wal.Options{SegmentBytes: 1 << 20, Owner: wire.ReplicaID{1}}
	payload := bytes.Repeat([]byte("v"), 100_000)
	last := wire.Index(0)
	for round := range 3 {
		fs := open(t, dir)
		s, rec, vote, err := wal.OpenStore(fs, opt)
		must(t, err)
		if rec.Last != last || rec.Cut != nil || vote.Abstain || vote.Vote.Term != wire.Term(round) {
			t.Fatalf("round %d: %+v %+v", round, rec, vote)
		}
		must(t, s.SaveVote(wire.Vote{Term: wire.Term(round + 1), For: 1}))
		for range 15 {
			last++
			must(t, s.Append([][]byte{wire.AppendEntry(nil, wire.EntryHead{Type: wire.EntryCommand, Index: last, Term: 1}, nil, payload)}))
			must(t, s.Sync())
		}
		b, err := s.Read(nil, 1, 1<<30)
		must(t, err)
		if want := int(last) * wire.EntryBytes(len(payload)); len(b) != want {
			t.Fatalf("read %d bytes, want %d", len(b), want)
		}
		if round == 1 { // as kill -9 does it: no Close, the lock goes with the process
			must(t, fs.Close())
			continue
		}
		must(t, errors.Join(s.Close(), fs.Close()))
	}
	ro, err := osfs.OpenReadOnly(dir)
	must(t, err)
	defer ro.Close()
	rec, err := wal.Verify(ro)
	if must(t, err); rec.Last != last {
		t.Fatalf("%+v", rec)
	}
}

// Without descriptors a folder that was synced before can be synced again, and
// a file that cannot be opened is told from a disk that fails.
func TestNoDescriptors(t *testing.T) {
	fs := open(t, t.TempDir())
	defer fs.Close()
	must(t, fs.MkdirAll("wal"))
	must(t, fs.SyncDir("wal"))
	must(t, fs.SyncDir(""))
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	none := limit
	none.Cur = 3
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none))
	wal1, root := fs.SyncDir("wal"), fs.SyncDir("")
	_, created := fs.Create("wal/1")
	_, opened := fs.Open("LOCK")
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	if wal1 != nil || root != nil {
		t.Errorf("sync of the folders: %v, %v", wal1, root)
	}
	for _, err := range []error{created, opened} {
		if !errors.Is(err, wal.ErrNoFiles) || !errors.Is(err, syscall.EMFILE) {
			t.Errorf("a file without a descriptor: %v", err)
		}
	}
}
