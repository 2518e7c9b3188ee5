package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/dnode-engine/dnode/wire"
)

// Range is a scan: which keys, how many, how new. The zero value is all keys.
type Range struct {
	Prefix string // only keys that begin with it
	Start  string // first key, inclusive; empty: the first of the prefix
	End    string // end, exclusive; empty: the end of the prefix
	Limit  int    // most items to return; zero: no limit (of a page: what fits into one)
	// KeysOnly leaves the values out.
	KeysOnly bool
	ReadOptions
}

// Page is one answer to a scan, at one revision.
type Page struct {
	Revision Revision
	Items    []Item // in key order; their keys and values share the page's memory
	More     bool   // there is more in the range
	Next     string // More: the Start of the next page
}

// bounds returns the first key and the end of the range.
func (r *Range) bounds() (start, end string) {
	start, end = max(r.Start, r.Prefix), r.End
	if pe := prefixEnd(r.Prefix); pe != "" && (end == "" || pe < end) {
		end = pe
	}
	return start, end
}

// prefixEnd returns the first key after all that begin with prefix, or ""
// if there is none.
func prefixEnd(prefix string) string {
	n := len(prefix)
	for n > 0 && prefix[n-1] == 0xff {
		n--
	}
	if n == 0 {
		return ""
	}
	return prefix[:n-1] + string([]byte{prefix[n-1] + 1})
}

// ScanPage returns the first items of a range: as many as Limit allows and as
// fit into one answer (wire.ScanPageBytes, wire.MaxScanKeys). A page with
// More is never empty.
func (c *Client) ScanPage(ctx context.Context, r Range) (Page, error) {
	q := c.newCall("scan", wire.FrameRead)
	more, err := q.scan(&r, 0)
	if err == nil && more {
		err = c.do(ctx, q)
	}
	var p Page
	if err == nil && more {
		p, err = q.pageResult(&r)
	}
	c.release(q)
	return p, err
}

// Scan returns the items of a range in key order. Pages are fetched as they
// are needed; each is as of one revision, later ones as of later revisions.
// After an error the sequence ends. Items share the memory of their page:
// clone what is kept for long.
func (c *Client) Scan(ctx context.Context, r Range) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for {
			p, err := c.ScanPage(ctx, r)
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, it := range p.Items {
				if !yield(it, nil) {
					return
				}
			}
			if r.Limit > 0 {
				if r.Limit -= len(p.Items); r.Limit <= 0 {
					return
				}
			}
			if !p.More {
				return
			}
			r.Start = p.Next
		}
	}
}

// Count returns how many keys are in a range. Limit and KeysOnly are ignored.
// A large range is counted in pages, each as of one revision.
func (c *Client) Count(ctx context.Context, r Range) (int, error) {
	r.Limit = 0
	total := 0
	for {
		n, next, err := c.countPage(ctx, &r)
		total += n
		if err != nil || next == "" {
			return total, err
		}
		r.Start = next
	}
}

func (c *Client) countPage(ctx context.Context, r *Range) (n int, next string, err error) {
	q := c.newCall("count", wire.FrameRead)
	defer c.release(q)
	more, err := q.scan(r, wire.ScanCountOnly)
	if err != nil || !more {
		return 0, "", err
	}
	if err := c.do(ctx, q); err != nil {
		return 0, "", err
	}
	_, res, err := q.scanResult()
	if err != nil || !res.More {
		return res.Count, "", err
	}
	it, _, err := wire.ParseItem(res.Items)
	if err != nil {
		return 0, "", q.malformed(err)
	}
	if start, end := r.bounds(); !holds(start, end, it.Key) {
		return 0, "", q.malformed(errOutOfRange)
	}
	return res.Count, string(it.Key), q.forward(r, string(it.Key))
}

// scan encodes a scan. It reports false if the range cannot hold any key.
func (c *call) scan(r *Range, flags wire.ScanFlags) (bool, error) {
	if err := c.route(&r.ReadOptions); err != nil {
		return false, err
	}
	if r.Limit < 0 {
		return false, &Error{Op: c.op, Class: ClassRefused, Err: fmt.Errorf("limit %d is negative", r.Limit)}
	}
	start, end := r.bounds()
	if len(start) > wire.MaxKeyBytes+1 || len(end) > wire.MaxKeyBytes+1 {
		return false, &Error{Op: c.op, Class: ClassTooLarge, Code: wire.CodeTooLarge, Err: fmt.Errorf(
			"a bound longer than %d bytes", wire.MaxKeyBytes+1)}
	}
	if end != "" && start >= end {
		return false, nil
	}
	if r.KeysOnly {
		flags |= wire.ScanKeysOnly
	}
	c.body = wire.AppendScan(wire.AppendRead(c.body, r.Consistency, nil), wire.Query{
		Op: wire.QueryScan, Flags: flags, Limit: uint32(min(r.Limit, wire.MaxScanKeys)),
		Start: []byte(start), End: []byte(end),
	})
	return true, nil
}

func (c *call) scanResult() (Revision, wire.ScanResult, error) {
	rev, st, _, err := c.result()
	if err != nil {
		return 0, wire.ScanResult{}, err
	}
	if st != wire.StatusOK {
		return 0, wire.ScanResult{}, c.badStatus(st)
	}
	_, body, _ := wire.ParseReply(c.reply)
	res, err := wire.ParseScanResult(body)
	if err != nil {
		return 0, wire.ScanResult{}, c.malformed(err)
	}
	return rev, res, nil
}

// pageResult copies a page out of the answer: one allocation for all keys, one
// for all values, one for the items.
func (c *call) pageResult(r *Range) (Page, error) {
	rev, res, err := c.scanResult()
	if err != nil {
		return Page{}, err
	}
	if res.Count*wire.ItemHeaderBytes > len(res.Items) {
		return Page{}, c.malformed(fmt.Errorf("%w: %d items in %d bytes", wire.ErrMalformed, res.Count, len(res.Items)))
	}
	if r.Limit > 0 && res.Count > r.Limit {
		return Page{}, c.malformed(fmt.Errorf("%w: %d items, %d were asked for", wire.ErrMalformed, res.Count, r.Limit))
	}
	start, end := r.bounds()
	p := Page{Revision: rev, More: res.More, Items: make([]Item, res.Count)}
	var keys strings.Builder
	var values []byte
	keys.Grow(len(res.Items) - res.Count*wire.ItemHeaderBytes)
	if !r.KeysOnly {
		values = make([]byte, 0, len(res.Items)-res.Count*wire.ItemHeaderBytes)
	}
	rest := res.Items
	for i := range p.Items {
		var it wire.Item
		if it, rest, err = wire.ParseItem(rest); err != nil {
			return Page{}, c.malformed(err)
		}
		behind := i == 0 || string(it.Key) > p.Items[i-1].Key
		if !behind || !holds(start, end, it.Key) || !possible(&it, rev) {
			return Page{}, c.malformed(errOutOfRange)
		}
		from, keyFrom := len(values), keys.Len()
		values = append(values, it.Value...)
		keys.Write(it.Key)
		p.Items[i] = Item{
			Key: keys.String()[keyFrom:], Value: values[from:len(values):len(values)],
			CreateRevision: it.CreateRevision, ModRevision: it.ModRevision, Version: it.Version,
		}
	}
	if len(rest) > 0 {
		return Page{}, c.malformed(fmt.Errorf("%w: %d bytes left over", wire.ErrMalformed, len(rest)))
	}
	if !p.More {
		return p, nil
	}
	if len(p.Items) == 0 {
		return Page{}, c.malformed(fmt.Errorf("%w: an empty page with more behind it", wire.ErrMalformed))
	}
	p.Next = p.Items[len(p.Items)-1].Key + "\x00"
	return p, c.forward(r, p.Next)
}

var errOutOfRange = errors.New("a page whose items are out of order, or not in the range")

// holds reports whether a key is in a range; an empty end is none.
func holds(start, end string, key []byte) bool {
	return string(key) >= start && (end == "" || string(key) < end)
}

// forward refuses an answer that would make a scan go round in circles.
func (c *call) forward(r *Range, next string) error {
	if start, _ := r.bounds(); next <= start {
		return c.malformed(fmt.Errorf("%w: a page that does not lead on", wire.ErrMalformed))
	}
	return nil
}
