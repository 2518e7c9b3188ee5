package crashfs_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/dnode-engine/dnode/wal/crashfs"
)

// shown is all that a start can see of an image.
func shown(t *testing.T, fs *crashfs.FS, dirs ...string) string {
	t.Helper()
	var b bytes.Buffer
	for _, dir := range dirs {
		names, err := fs.List(dir)
		fmt.Fprintln(&b, dir, names, err)
		for _, n := range names {
			if dir != "" {
				n = dir + "/" + n
			}
			fmt.Fprintf(&b, "%s %x\n", n, fs.Bytes(n))
		}
	}
	return b.String()
}

// Every image is yielded once, and Crash yields no other.
func TestImagesAreAll(t *testing.T) {
	f := func(name string, want int, setup func(fs *crashfs.FS)) {
		t.Helper()
		fs := crashfs.New()
		setup(fs)
		seen := map[string]int{}
		n := 0
		for img := range fs.Images(1000, 1) {
			seen[shown(t, img, "", "d")]++
			n++
			if img.Outcomes() != 1 {
				t.Fatalf("%s: an image has %d outcomes", name, img.Outcomes())
			}
		}
		if n != want || uint64(n) != fs.Outcomes() || len(seen) != n {
			t.Errorf("%s: %d images, %d different, %d outcomes, want %d", name, n, len(seen), fs.Outcomes(), want)
		}
		for seed := range uint64(300) {
			if img := shown(t, fs.Crash(seed), "", "d"); seen[img] == 0 {
				t.Fatalf("%s: seed %d leaves an image that is not among them:\n%s", name, seed, img)
			}
		}
		for img := range fs.Images(min(n-1, 50), 1) {
			if seen[shown(t, img, "", "d")] == 0 {
				t.Fatalf("%s: a drawn image is not among them", name)
			}
		}
	}
	sectors := func(c string, n int) []byte { return bytes.Repeat([]byte(c), n*crashfs.SectorBytes) }
	f("nothing unsynced", 1, func(fs *crashfs.FS) { durable(t, fs, "f", 3) })
	f("versions of sectors", 2*3*2, func(fs *crashfs.FS) {
		file := durable(t, fs, "f", 4)
		write(t, file, 512, sectors("b", 3))
		write(t, file, 1100, []byte("c"))
	})
	f("the same bytes again", 2, func(fs *crashfs.FS) {
		file := durable(t, fs, "f", 4)
		write(t, file, 512, append(sectors("a", 1), 'b'))
	})
	f("names", 4, func(fs *crashfs.FS) {
		durable(t, fs, "f", 1)
		file := durable(t, fs, "g", 1)
		write(t, file, 0, []byte("g"))
		must(t, file.Sync())
		must(t, fs.Rename("g", "f"))
		must(t, fs.MkdirAll("d"))
	})
}

// A file that grows may have any of its sizes, with zeros or garbage where a
// sector was not kept.
func TestImagesOfGrowth(t *testing.T) {
	fs := crashfs.New()
	file := durable(t, fs, "f", 1)
	write(t, file, 512, bytes.Repeat([]byte("b"), 512))
	write(t, file, 1024, []byte("c"))
	sizes := map[int]int{}
	for img := range fs.Images(100, 1) {
		sizes[len(img.Bytes("f"))]++
	}
	if fmt.Sprint(sizes) != "map[512:1 1024:4 1025:8]" || fs.Outcomes() != 13 {
		t.Errorf("%v, %d outcomes", sizes, fs.Outcomes())
	}
}
