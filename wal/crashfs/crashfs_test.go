package crashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dnode-engine/dnode/wal"
	"github.com/dnode-engine/dnode/wal/crashfs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fs *crashfs.FS, name string) wal.File {
	t.Helper()
	f, err := fs.Create(name)
	must(t, err)
	return f
}

func write(t *testing.T, f wal.File, off int64, p []byte) {
	t.Helper()
	if n, err := f.WriteAt(p, off); n != len(p) || err != nil {
		t.Fatalf("wrote %d of %d: %v", n, len(p), err)
	}
}

// durable returns a file of n sectors of 'a', synced with its name.
func durable(t *testing.T, fs *crashfs.FS, name string, n int) wal.File {
	t.Helper()
	f := create(t, fs, name)
	write(t, f, 0, bytes.Repeat([]byte("a"), n*crashfs.SectorBytes))
	must(t, f.Sync())
	must(t, fs.SyncDir(""))
	return f
}

// A sector is kept whole, at one of its versions; every combination of
// neighbours comes up; what is synced stays.
func TestCrashKeepsSectorsWhole(t *testing.T) {
	fs := crashfs.New()
	f := durable(t, fs, "f", 4)
	write(t, f, 512, bytes.Repeat([]byte("b"), 1024)) // sectors 1 and 2
	write(t, f, 600, bytes.Repeat([]byte("c"), 20))   // within sector 1
	seen := map[string]int{}
	for seed := range uint64(2000) {
		b := fs.Crash(seed).Bytes("f")
		if len(b) != 2048 {
			t.Fatalf("seed %d: %d bytes", seed, len(b))
		}
		var kind strings.Builder
		for s := range 4 {
			sector := b[s*512 : s*512+512]
			switch count := func(c string) int { return bytes.Count(sector, []byte(c)) }; {
			case count("a") == 512:
				kind.WriteString("a")
			case count("b") == 512:
				kind.WriteString("b")
			case count("b") == 492 && count("c") == 20:
				kind.WriteString("c")
			default:
				t.Fatalf("seed %d: sector %d is torn: %q", seed, s, sector)
			}
		}
		seen[kind.String()]++
	}
	for _, kind := range []string{"aaaa", "abba", "acba", "abaa", "acaa", "aaba"} {
		if seen[kind] == 0 {
			t.Errorf("%s never came up: %v", kind, seen)
		}
	}
	if len(seen) != 6 {
		t.Errorf("impossible images: %v", seen)
	}
	must(t, f.Sync())
	for seed := range uint64(50) {
		if !bytes.Equal(fs.Crash(seed).Bytes("f"), fs.Bytes("f")) {
			t.Fatalf("seed %d lost synced bytes", seed)
		}
	}
}

func TestCrashOfSizes(t *testing.T) {
	fs := crashfs.New()
	f := durable(t, fs, "f", 1)
	write(t, f, 512, bytes.Repeat([]byte("b"), 512))
	write(t, f, 1024, bytes.Repeat([]byte("c"), 100))
	sizes := map[int]int{}
	zeros, garbage := 0, 0
	for seed := range uint64(2000) {
		b := fs.Crash(seed).Bytes("f")
		sizes[len(b)]++
		if len(b) == 1124 && b[600] != 'b' {
			if b[600] == 0 && b[601] == 0 {
				zeros++
			} else {
				garbage++
			}
		}
	}
	if len(sizes) != 3 || sizes[512] == 0 || sizes[1024] == 0 || sizes[1124] == 0 || zeros == 0 || garbage == 0 {
		t.Errorf("sizes %v, zeros %d, garbage %d", sizes, zeros, garbage)
	}
}

// Names are durable after SyncDir only; renames are atomic.
func TestCrashOfNames(t *testing.T) {
	fs := crashfs.New()
	must(t, fs.MkdirAll("d"))
	durable(t, fs, "d/x", 1)
	f := create(t, fs, "d/y")
	must(t, f.Sync())
	must(t, fs.Rename("d/y", "d/x"))
	seen := map[string]int{}
	for seed := range uint64(500) {
		img := fs.Crash(seed)
		names, err := img.List("d")
		if err != nil {
			names = []string{"no folder"}
		}
		seen[fmt.Sprint(names, len(img.Bytes("d/x")))]++
	}
	// durable synced the root but not d: the folder is there, its files may be.
	for _, want := range []string{"[] 0", "[x] 512", "[x y] 512", "[x] 0"} {
		if seen[want] == 0 {
			t.Errorf("%s never came up: %v", want, seen)
		}
	}
	if seen["[no folder] 0"] > 0 {
		t.Error("a synced folder was lost")
	}
	must(t, fs.SyncDir("d"))
	for seed := range uint64(50) {
		if names, _ := fs.Crash(seed).List("d"); fmt.Sprint(names) != "[x]" {
			t.Fatalf("seed %d: %v", seed, names)
		}
	}
}

func TestCrashIsDeterministicAndPure(t *testing.T) {
	history := func() *crashfs.FS {
		fs := crashfs.New()
		f := durable(t, fs, "f", 8)
		for i := range int64(30) {
			write(t, f, i*137, bytes.Repeat([]byte{byte(i)}, 200))
		}
		create(t, fs, "g")
		return fs
	}
	a, b := history(), history()
	for seed := range uint64(100) {
		if !bytes.Equal(a.Crash(seed).Bytes("f"), b.Crash(seed).Bytes("f")) {
			t.Fatalf("seed %d gives two images", seed)
		}
	}
	if !bytes.Equal(a.Bytes("f"), history().Bytes("f")) {
		t.Error("taking images changed the file system")
	}
}

// Kill keeps what was written; a power cut after it still loses what was
// never synced.
func TestKillThenCrash(t *testing.T) {
	fs := crashfs.New()
	f := durable(t, fs, "f", 1)
	write(t, f, 0, bytes.Repeat([]byte("b"), 512))
	create(t, fs, "g")
	after := fs.Kill()
	if names, _ := after.List(""); fmt.Sprint(names) != "[f g]" || after.Bytes("f")[0] != 'b' {
		t.Fatal("kill lost something")
	}
	lost := false
	for seed := range uint64(50) {
		lost = lost || after.Crash(seed).Bytes("f")[0] == 'a'
	}
	if !lost {
		t.Error("what was not synced survives every power cut after a kill")
	}
}

// A failed sync loses the bytes for the disk, not for readers, and the next
// sync succeeds.
func TestFailedSyncDropsBytes(t *testing.T) {
	disk := errors.New("disk")
	fs := crashfs.New()
	f := durable(t, fs, "f", 2)
	write(t, f, 0, bytes.Repeat([]byte("b"), 512))
	fs.Inject(crashfs.Rule{Op: crashfs.OpSync, Err: disk})
	if err := f.Sync(); !errors.Is(err, disk) {
		t.Fatal(err)
	}
	write(t, f, 512, bytes.Repeat([]byte("c"), 512))
	must(t, f.Sync())
	if b := fs.Bytes("f"); b[0] != 'b' || b[512] != 'c' {
		t.Errorf("readers see %c %c", b[0], b[512])
	}
	if b := fs.Crash(1).Bytes("f"); b[0] != 'a' || b[512] != 'c' {
		t.Errorf("the disk has %c %c", b[0], b[512])
	}
	must(t, f.(wal.CacheDropper).DropCache())
	if b := fs.Bytes("f"); b[0] != 'a' || b[512] != 'c' {
		t.Errorf("past the cache: %c %c", b[0], b[512])
	}
}

func TestLyingSync(t *testing.T) {
	fs := crashfs.New()
	fs.Lie(true)
	f := durable(t, fs, "f", 1)
	must(t, f.Sync())
	lost := false
	for seed := range uint64(20) {
		lost = lost || fs.Crash(seed).Bytes("f") == nil
	}
	if !lost {
		t.Error("a lying disk keeps everything")
	}
}

func TestFaultRules(t *testing.T) {
	disk := errors.New("disk")
	fs := crashfs.New()
	f := create(t, fs, "a.seg")
	fs.Inject(crashfs.Rule{Op: crashfs.OpWrite, Name: ".seg", Skip: 1, Times: 2, Err: disk, Short: 3})
	var got []string
	for range 4 {
		n, err := f.WriteAt([]byte("12345"), 0)
		got = append(got, fmt.Sprint(n, err))
	}
	if s := fmt.Sprint(got); s != "[5 <nil> 3 disk 3 disk 5 <nil>]" {
		t.Error(s)
	}
	fs.SetQuota(10)
	if n, err := f.WriteAt(make([]byte, 20), 4); n != 6 || !errors.Is(err, wal.ErrNoSpace) {
		t.Error(n, err)
	}
	fs.SetQuota(0)
	ops := fs.Ops()
	var events []string
	fs.SetTrace(func(e crashfs.Event) { events = append(events, e.String()) })
	fs.StopAt(ops + 2)
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	if err := f.Sync(); !errors.Is(err, crashfs.ErrStopped) {
		t.Error(err)
	}
	if want := fmt.Sprintf("[%d sync a.seg]", ops+1); fmt.Sprint(events) != want || fs.Count(crashfs.OpSync) != 1 {
		t.Error(events, want)
	}
	fs.StopAt(0)
	must(t, f.Close())
	if _, err := f.WriteAt(nil, 0); !errors.Is(err, crashfs.ErrClosed) {
		t.Error(err)
	}
	if _, err := fs.Open("none"); !errors.Is(err, wal.ErrNotExist) {
		t.Error(err)
	}
}
