package crashfs_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
)

// A spoilt sector stays unreadable through crashes, and is whole again once it
// is written.
func TestUnreadableSector(t *testing.T) {
	fs := crashfs.New()
	durable(t, fs, "f", 3)
	must(t, fs.Spoil("f", 600))
	reads := func(fs *crashfs.FS, off int64, n int) error {
		f, err := fs.Open("f")
		must(t, err)
		_, err = f.ReadAt(make([]byte, n), off)
		return err
	}
	for what, fs := range map[string]*crashfs.FS{"running": fs, "killed": fs.Kill(), "cut": fs.Crash(3)} {
		for _, r := range []struct {
			off int64
			n   int
			bad bool
		}{{0, 512, false}, {0, 513, true}, {1023, 1, true}, {1024, 512, false}} {
			if err := reads(fs, r.off, r.n); errors.Is(err, crashfs.ErrUnreadable) != r.bad {
				t.Errorf("%s: read of %d bytes at %d: %v", what, r.n, r.off, err)
			}
		}
		f, err := fs.Open("f")
		must(t, err)
		write(t, f, 512, make([]byte, 512))
		must(t, f.Sync())
		must(t, reads(fs, 0, 1536))
	}
	if err := fs.Spoil("none", 0); !errors.Is(err, wal.ErrNotExist) {
		t.Error(err)
	}
}

// A lost write is seen until the power goes. If its file was synced again
// meanwhile it is gone then, else it has arrived.
func TestLostWrite(t *testing.T) {
	f := func(again, dropped bool, want byte) {
		t.Helper()
		fs := crashfs.New()
		f := durable(t, fs, "f", 4)
		fs.Lose("f")
		write(t, f, 512, bytes.Repeat([]byte("b"), 512))
		must(t, f.Sync())
		if again {
			write(t, f, 1024, bytes.Repeat([]byte("c"), 512))
			must(t, f.Sync())
		}
		if b := fs.Kill().Bytes("f"); b[512] != 'b' {
			t.Errorf("readers see %c", b[512])
		}
		if dropped {
			must(t, f.(wal.CacheDropper).DropCache())
			if b := fs.Bytes("f"); b[512] != want {
				t.Errorf("past the cache: %c, want %c", b[512], want)
			}
			return
		}
		for _, img := range []*crashfs.FS{fs.Crash(1), fs.Kill().Crash(2)} {
			if b := img.Bytes("f"); b[512] != want || again && b[1024] != 'c' {
				t.Errorf("the disk has %c, want %c", b[512], want)
			}
		}
	}
	for _, dropped := range []bool{false, true} {
		f(false, dropped, 'b')
		f(true, dropped, 'a')
	}
}

func TestMisdirectedWrite(t *testing.T) {
	fs := crashfs.New()
	durable(t, fs, "g", 4)
	f := durable(t, fs, "f", 4)
	must(t, fs.Misdirect("f", "g", 1030))
	write(t, f, 600, bytes.Repeat([]byte("b"), 900))
	must(t, f.Sync())
	write(t, f, 0, []byte("c"))
	must(t, f.Sync())
	if b := fs.Bytes("g"); b[1024] != 'a' || b[1200] != 'a' {
		t.Error("the cache of the other file changed")
	}
	img := fs.Crash(1)
	if b := img.Bytes("g"); b[1024] != 'a' || b[1024+88] != 'b' || b[1535] != 'b' || b[1536] != 'a' {
		t.Errorf("landed as %q", b[1024:])
	}
	if b := img.Bytes("f"); b[0] != 'c' || b[600] != 'a' || b[1024] != 'a' {
		t.Error("it arrived where it should")
	}
	if err := fs.Misdirect("f", "g", 2048); !errors.Is(err, wal.ErrNotExist) {
		t.Error(err)
	}
}

func TestFloor(t *testing.T) {
	fs := crashfs.New()
	f := durable(t, fs, "f", 1)
	want := func(floor int64) {
		t.Helper()
		for _, fs := range []*crashfs.FS{fs, fs.Kill(), fs.Crash(1)} {
			if got := fs.Floor("f"); got != floor {
				t.Errorf("floor %d, want %d", got, floor)
			}
		}
	}
	want(0)
	write(t, f, 600, []byte("b"))
	write(t, f, 512, []byte("b"))
	want(0)
	must(t, f.Sync())
	want(512)
	must(t, f.Sync())
	want(512)
}
