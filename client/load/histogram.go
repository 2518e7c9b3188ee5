package load

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"time"
)

const (
	subBits   = 7
	subCount  = 1 << subBits
	maxBits   = 42 // 2^42 ns is 73 minutes; longer values count as that long
	bucketNum = (maxBits - subBits + 1) * subCount
)

// Histogram counts durations in log-linear buckets: exact below 128 ns, and
// 128 buckets for every doubling above, so that a quantile is off by less than
// 0.4 %. Its size is fixed (36 KiB). The zero value is empty. It is not safe
// for concurrent use.
type Histogram struct {
	counts [bucketNum]uint64
	count  uint64
	sum    time.Duration
	max    time.Duration
}

// Record counts one duration. A negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(d)]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

// Merge adds all that o has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.count += o.count
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.count }

// Max returns the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns the exact mean, zero if the histogram is empty.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}

// Quantile returns the duration that a share q of the recorded ones does not
// exceed, as the middle of its bucket. Quantile(1) is Max; an empty histogram
// gives zero.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(min(max(q, 0), 1)*float64(h.count) + 0.999999)
	if rank >= h.count {
		return h.max
	}
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; seen >= max(rank, 1) {
			return min(middleOf(i), h.max)
		}
	}
	return h.max
}

// bucketOf returns the bucket of d ≥ 0: the power of two, then the 7 bits after
// the leading one.
func bucketOf(d time.Duration) int {
	v := min(uint64(d), 1<<maxBits-1)
	if v < subCount {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)<<subBits + int(v>>shift) - subCount
}

// middleOf returns the middle of a bucket.
func middleOf(i int) time.Duration {
	if i < 2*subCount {
		return time.Duration(i) // one value each
	}
	shift := i>>subBits - 1
	low := uint64(i&(subCount-1)+subCount) << shift
	return time.Duration(low + (uint64(1)<<shift-1)/2)
}

// histogramJSON is a histogram without its empty buckets.
type histogramJSON struct {
	SumNanos int64       `json:"sum_ns"`
	MaxNanos int64       `json:"max_ns"`
	Buckets  [][2]uint64 `json:"buckets"` // number, count
}

// MarshalJSON writes the buckets that are not empty.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	out := histogramJSON{SumNanos: int64(h.sum), MaxNanos: int64(h.max), Buckets: [][2]uint64{}}
	for i, n := range h.counts {
		if n > 0 {
			out.Buckets = append(out.Buckets, [2]uint64{uint64(i), n})
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (h *Histogram) UnmarshalJSON(text []byte) error {
	var in histogramJSON
	if err := json.Unmarshal(text, &in); err != nil {
		return fmt.Errorf("cannot read a histogram: %w", err)
	}
	*h = Histogram{sum: time.Duration(in.SumNanos), max: time.Duration(in.MaxNanos)}
	for _, b := range in.Buckets {
		if b[0] >= bucketNum {
			return fmt.Errorf("cannot read a histogram: bucket %d of %d", b[0], bucketNum)
		}
		h.counts[b[0]] += b[1]
		h.count += b[1]
	}
	return nil
}
