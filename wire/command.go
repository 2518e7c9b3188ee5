package wire

import (
	"encoding/binary"
	"fmt"
)

// Op is the first byte of a key-value command.
type Op uint8

// The commands. Zero is invalid; the gaps are kept for increment,
// delete-range and transactions.
const (
	OpPut    Op = 1
	OpDelete Op = 2
	OpCAS    Op = 3
	OpBatch  Op = 4
)

func (o Op) String() string {
	switch o {
	case OpPut:
		return "put"
	case OpDelete:
		return "delete"
	case OpCAS:
		return "cas"
	case OpBatch:
		return "batch"
	default:
		return "invalid"
	}
}

// CASMode says what a compare-and-set compares with.
type CASMode uint8

// The modes. Zero is invalid.
const (
	CASAbsent   CASMode = 1 // the key must not exist; Expected is empty
	CASValue    CASMode = 2 // the value must equal Expected
	CASRevision CASMode = 3 // the mod revision must equal Revision; Expected is its 8 bytes
)

// Command is one decoded key-value command. Its slices alias the bytes it was
// parsed from, and are only valid as long as those.
type Command struct {
	Op       Op
	Mode     CASMode // OpCAS
	Key      []byte
	Value    []byte // OpPut, OpCAS: the new value
	Expected []byte // OpCAS
	Batch    []byte // OpBatch: the encoded commands, each behind its 32-bit length
	Count    int    // OpBatch: how many
}

// The encoders of commands, queries and items do not check limits. A key of
// more than 65,535 bytes does not fit its length field: what is encoded then
// has bytes left over and is refused by the decoder.

// AppendPut appends a put: op, key length (2), value length (4), key, value.
func AppendPut(dst []byte, key, value []byte) []byte {
	dst = append(dst, byte(OpPut))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(key)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(value)))
	dst = append(dst, key...)
	return append(dst, value...)
}

// AppendDelete appends a delete: op, key length (2), key.
func AppendDelete(dst, key []byte) []byte {
	dst = append(dst, byte(OpDelete))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(key)))
	return append(dst, key...)
}

// AppendCAS appends a compare-and-set: op, mode, key length (2), expected
// length (4), value length (4), key, expected, value. Of c only these are used.
func AppendCAS(dst []byte, c Command) []byte {
	dst = append(dst, byte(OpCAS), byte(c.Mode))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(c.Key)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.Expected)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.Value)))
	dst = append(dst, c.Key...)
	dst = append(dst, c.Expected...)
	return append(dst, c.Value...)
}

// AppendBatchHeader starts a batch of count commands: op, count (4). Each
// command follows behind its length, by AppendBatchItem.
func AppendBatchHeader(dst []byte, count int) []byte {
	dst = append(dst, byte(OpBatch))
	return binary.LittleEndian.AppendUint32(dst, uint32(count))
}

// AppendBatchItem appends one encoded command behind its 32-bit length.
func AppendBatchItem(dst, command []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(command)))
	return append(dst, command...)
}

// ParseCommand decodes one command and checks every limit that it must keep:
// whoever accepts it into the log and whoever applies it calls this, so both
// agree. A batch's items are parsed by NextBatchItem; ParseCommand checks that
// they are well formed. It allocates nothing unless it fails.
func ParseCommand(b []byte) (Command, error) {
	if len(b) > MaxCommandBytes {
		return Command{}, fmt.Errorf("%w: command of %d bytes, at most %d are allowed", ErrTooLarge, len(b), MaxCommandBytes)
	}
	c, err := parseSimple(b)
	if err != nil || c.Op != OpBatch {
		return c, err
	}
	rest := c.Batch
	for range c.Count {
		if _, rest, err = NextBatchItem(rest); err != nil {
			return Command{}, err
		}
	}
	if len(rest) > 0 {
		return Command{}, fmt.Errorf("%w: %d bytes left over", ErrMalformed, len(rest))
	}
	return c, nil
}

// NextBatchItem parses the first command of a batch and returns what follows.
// A batch inside a batch is malformed.
func NextBatchItem(b []byte) (Command, []byte, error) {
	r := NewReader(b)
	item := r.Bytes(int(r.U32()))
	if r.Err() != nil {
		return Command{}, nil, r.Err()
	}
	c, err := parseSimple(item)
	if err == nil && c.Op == OpBatch {
		err = fmt.Errorf("%w: batch inside a batch", ErrMalformed)
	}
	if err != nil {
		return Command{}, nil, err
	}
	return c, r.Rest(), nil
}

func parseSimple(b []byte) (Command, error) {
	r := NewReader(b)
	c := Command{Op: Op(r.U8())}
	keyLen := 0
	switch c.Op {
	case OpPut:
		keyLen = int(r.U16())
		valueLen := int(r.U32())
		c.Key = r.Bytes(keyLen)
		c.Value = r.Bytes(valueLen)
	case OpDelete:
		keyLen = int(r.U16())
		c.Key = r.Bytes(keyLen)
	case OpCAS:
		c.Mode = CASMode(r.U8())
		keyLen = int(r.U16())
		expectedLen, valueLen := int(r.U32()), int(r.U32())
		c.Key = r.Bytes(keyLen)
		c.Expected = r.Bytes(expectedLen)
		c.Value = r.Bytes(valueLen)
		checkCAS(&r, &c)
	case OpBatch:
		c.Count = r.Count(4)
		c.Batch = r.Rest()
		if c.Count > MaxBatchOps {
			return Command{}, fmt.Errorf("%w: batch of %d commands, at most %d are allowed", ErrTooLarge, c.Count, MaxBatchOps)
		}
	default:
		r.Fail("unknown command")
	}
	if err := r.Finish(); err != nil {
		return Command{}, err
	}
	if c.Op != OpBatch && keyLen == 0 {
		return Command{}, fmt.Errorf("%w: empty key", ErrMalformed)
	}
	if keyLen > MaxKeyBytes {
		return Command{}, fmt.Errorf("%w: key of %d bytes, at most %d are allowed", ErrTooLarge, keyLen, MaxKeyBytes)
	}
	return c, nil
}

func checkCAS(r *Reader, c *Command) {
	switch {
	case c.Mode == CASAbsent && len(c.Expected) > 0:
		r.Fail("expected value in an absent compare-and-set")
	case c.Mode == CASRevision && len(c.Expected) != 8:
		r.Fail("expected revision is not 8 bytes")
	case c.Mode < CASAbsent || c.Mode > CASRevision:
		r.Fail("unknown compare-and-set mode")
	}
}

// Revision returns the expected revision of a CASRevision command.
func (c *Command) Revision() Index {
	return Index(binary.LittleEndian.Uint64(c.Expected))
}

// Status is the first byte of a command's or query's result.
type Status uint8

// The results. A condition that does not hold is a result, not an error: the
// command was carried out.
const (
	StatusOK              Status = 0
	StatusNotFound        Status = 1
	StatusConditionFailed Status = 2
	StatusRefused         Status = 3 // the state machine does not know or allow the command; a Code (2) follows
)

// Item is one key with its value and history. Its slices alias their source.
type Item struct {
	CreateRevision Index
	ModRevision    Index
	Version        uint64 // number of writes since the key was created, 1 at first
	Key            []byte
	Value          []byte
}

// ItemHeaderBytes precede the key and value of an encoded item.
const ItemHeaderBytes = 30

// AppendItem appends an item: create revision (8), mod revision (8), version
// (8), key length (2), value length (4), key, value.
func AppendItem(dst []byte, it Item) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(it.CreateRevision))
	dst = le.AppendUint64(dst, uint64(it.ModRevision))
	dst = le.AppendUint64(dst, it.Version)
	dst = le.AppendUint16(dst, uint16(len(it.Key)))
	dst = le.AppendUint32(dst, uint32(len(it.Value)))
	dst = append(dst, it.Key...)
	return append(dst, it.Value...)
}

func readItem(r *Reader) Item {
	it := Item{CreateRevision: Index(r.U64()), ModRevision: Index(r.U64()), Version: r.U64()}
	keyLen, valueLen := int(r.U16()), int(r.U32())
	it.Key = r.Bytes(keyLen)
	it.Value = r.Bytes(valueLen)
	return it
}

// ParseItem decodes the first item of b and returns what follows it.
func ParseItem(b []byte) (Item, []byte, error) {
	r := NewReader(b)
	it := readItem(&r)
	if r.Err() != nil {
		return Item{}, nil, r.Err()
	}
	return it, r.Rest(), nil
}

// QueryOp is the first byte of a key-value query.
type QueryOp uint8

// The queries. Zero is invalid.
const (
	QueryGet  QueryOp = 1
	QueryScan QueryOp = 2
)

// ScanFlags choose what a scan returns.
type ScanFlags uint8

// The flags of a scan.
const (
	ScanKeysOnly  ScanFlags = 1 // items come without their values
	ScanCountOnly ScanFlags = 2 // no items, only the count
)

// Query is one decoded query. Its slices alias their source.
type Query struct {
	Op    QueryOp
	Key   []byte // QueryGet
	Flags ScanFlags
	Limit uint32 // QueryScan: items wanted; 0 or above MaxScanKeys means MaxScanKeys
	Start []byte // QueryScan: first key, inclusive
	End   []byte // QueryScan: end, exclusive; empty: no end
}

// AppendGet appends a get: op, key length (2), key.
func AppendGet(dst, key []byte) []byte {
	dst = append(dst, byte(QueryGet))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(key)))
	return append(dst, key...)
}

// AppendScan appends a scan: op, flags, limit (4), start length (2), end
// length (2), start, end.
func AppendScan(dst []byte, q Query) []byte {
	dst = append(dst, byte(QueryScan), byte(q.Flags))
	dst = binary.LittleEndian.AppendUint32(dst, q.Limit)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(q.Start)))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(q.End)))
	dst = append(dst, q.Start...)
	return append(dst, q.End...)
}

// ParseQuery decodes one query and checks its limits. Bounds of a scan may be
// one byte longer than a key, so that "after this key" can be said.
func ParseQuery(b []byte) (Query, error) {
	r := NewReader(b)
	q := Query{Op: QueryOp(r.U8())}
	switch q.Op {
	case QueryGet:
		q.Key = r.Bytes(int(r.U16()))
	case QueryScan:
		q.Flags = ScanFlags(r.U8())
		q.Limit = r.U32()
		startLen, endLen := int(r.U16()), int(r.U16())
		q.Start = r.Bytes(startLen)
		q.End = r.Bytes(endLen)
		if q.Flags > ScanKeysOnly|ScanCountOnly {
			r.Fail("unknown scan flags")
		}
		if q.Limit == 0 || q.Limit > MaxScanKeys {
			q.Limit = MaxScanKeys
		}
	default:
		r.Fail("unknown query")
	}
	if err := r.Finish(); err != nil {
		return Query{}, err
	}
	if q.Op == QueryGet && len(q.Key) == 0 {
		return Query{}, fmt.Errorf("%w: empty key", ErrMalformed)
	}
	if len(q.Key) > MaxKeyBytes || len(q.Start) > MaxKeyBytes+1 || len(q.End) > MaxKeyBytes+1 {
		return Query{}, fmt.Errorf("%w: key longer than %d bytes", ErrTooLarge, MaxKeyBytes)
	}
	return q, nil
}

// Result layouts, after the status byte:
//
//	put, delete       nothing
//	compare-and-set   on StatusConditionFailed: exists (1), then an Item if
//	                  exists is 1 (always 0 inside a batch)
//	batch             count (4), then per command length (4) and its result
//	get               an Item, on StatusOK
//	scan              more (1), count (4), then count Items unless count-only
//	any               on StatusRefused: code (2)
//
// More means that the page ended before the range: ask again, starting right
// after the last key (or, count-only, at the key that stands in the one Item
// then sent, whose value is empty).

// ScanResult is a decoded page. Items holds Count encoded items, or, for a
// count-only page with More, the one key to go on from.
type ScanResult struct {
	More  bool
	Count int
	Items []byte
}

// ParseScanResult decodes a scan's result, status byte included. The items are
// not looked into: ParseItem takes them one by one.
func ParseScanResult(b []byte) (ScanResult, error) {
	r := NewReader(b)
	if Status(r.U8()) != StatusOK {
		r.Fail("unexpected status")
	}
	more := r.U8()
	res := ScanResult{More: more == 1, Count: int(r.U32())}
	if more > 1 {
		r.Fail("invalid flag")
	}
	if res.Count < 0 || res.Count > MaxScanKeys {
		r.Fail("more keys than one page visits")
	}
	res.Items = r.Rest()
	if r.Err() != nil {
		return ScanResult{}, r.Err()
	}
	return res, nil
}
