package wire

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// slowCRC is CRC-32C written from the specification, bit by bit.
func slowCRC(b []byte) uint32 {
	crc := ^uint32(0)
	for _, c := range b {
		crc ^= uint32(c)
		for range 8 {
			crc = crc>>1 ^ 0x82f63b78*(crc&1)
		}
	}
	return ^crc
}

func u32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// TestChecksumsCoverWhatTheSpecificationSays does not use the package's own checksum.
func TestChecksumsCoverWhatTheSpecificationSays(t *testing.T) {
	if got := slowCRC([]byte("123456789")); got != 0xE3069283 {
		t.Fatalf("crc of the check string is %#x", got)
	}
	for _, v := range vectors() {
		kind, _, _ := strings.Cut(v.name, ".")
		switch {
		case isFrame(kind):
			if u32(v.b) != uint32(len(v.b)) || u32(v.b[16:]) != slowCRC(v.b[24:]) || u32(v.b[20:]) != slowCRC(v.b[:20]) {
				t.Errorf("%s: length or checksums are not as specified", v.name)
			}
		case kind == "entry":
			content := append(append([]byte(nil), v.b[:24]...), v.b[28:]...)
			if u32(v.b) != uint32(len(v.b)) || u32(v.b[24:]) != slowCRC(content) {
				t.Errorf("%s: length or checksum is not as specified", v.name)
			}
		}
	}
}

// example draws the worked example of doc.go from the vectors.
func example() string {
	frames := make(map[string][]byte)
	for _, v := range vectors() {
		frames[v.name] = v.b
	}
	var out strings.Builder
	draw := func(dir, name, title string) {
		b := frames[name]
		fmt.Fprintf(&out, "//\t%s %s\n", dir, title)
		fmt.Fprintf(&out, "//\t  %x %x %x %x %x %x %x\n", b[:4], b[4:5], b[5:6], b[6:8], b[8:16], b[16:20], b[20:24])
		for rest := b[24:]; len(rest) > 0; {
			n := min(len(rest), 32)
			fmt.Fprintf(&out, "//\t  %x\n", rest[:n])
			rest = rest[n:]
		}
		out.WriteString("//\n")
	}
	draw(">", "hello.client", "Hello: version 1, min version 1, side 1, the rest zero or empty but name \"ex\"")
	draw("<", "ack.client", "HelloAck: version 1, frames of 0x200000, 0x1000 requests, 0x800000 bytes, cluster, replica, \"n1\", address")
	draw(">", "write.plain", "Write, id 1: session, seq and acked 0; op 1, key length 1, value length 2, \"k\", \"v1\"")
	draw("<", "reply.write", "WriteReply, id 1: revision 9, status 0")
	draw(">", "read.linearizable", "Read, id 2: linearizable; op 1, key length 1, \"k\"")
	draw("<", "reply.read", "ReadReply, id 2: revision 9, status 0, created at 3, modified at 9, version 2, lengths 1 and 2, \"k\", \"v1\"")
	return strings.TrimSuffix(out.String(), "//\n")
}

func TestWorkedExampleIsWhatTheEncodersWrite(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	if want := example(); !strings.Contains(string(doc), want) {
		t.Fatalf("doc.go does not hold this example:\n%s", want)
	}
}

// TestSpecificationNamesEveryCode checks the error table's rows against the
// code: number, and whether a request may be sent again.
func TestSpecificationNamesEveryCode(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	again := make(map[string]string)
	for line := range strings.Lines(string(doc)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(line, "//\t") {
			again[f[1]+" "+f[3]] = f[2]
		}
	}
	for c := Code(1); c <= maxCode; c++ {
		want := []string{"ask"}
		switch {
		case c.Closes() && c.NotCarriedOut():
			t.Errorf("%v both closes and answers", c)
		case c.Closes():
			want = []string{"id"}
		case c.NotCarriedOut():
			want = []string{"yes", "moot"}
		}
		found := false
		for _, w := range want {
			found = found || again[fmt.Sprintf("%d %s", c, w)] != ""
		}
		if !found {
			t.Errorf("doc.go has no row for code %d, %v, saying %v", c, c, want)
		}
	}
	if c := maxCode + 1; c.Closes() || c.NotCarriedOut() || !strings.Contains(c.String(), "24") {
		t.Errorf("an unknown code claims to be known: %v", c)
	}
}
