package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// samples are the values of a node's metrics, by name; those of one name with
// different labels are added up. Buckets of a histogram are there with their
// labels too.
type samples map[string]float64

// fetch gets one page of a node.
func fetch(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("cannot ask %s: %w", url, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("cannot ask %s: %w", url, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return "", fmt.Errorf("cannot ask %s: %w", url, err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %s", url, res.Status, strings.TrimSpace(string(text)))
	}
	return string(text), nil
}

// scrape reads a page of metrics.
func scrape(ctx context.Context, url string) (samples, error) {
	text, err := fetch(ctx, url)
	return parseMetrics(text), err
}

// parseMetrics reads the Prometheus text format, as far as it is used here:
// NAME{LABELS} VALUE, no timestamps.
func parseMetrics(text string) samples {
	s := samples{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			continue
		}
		name, labels, _ := strings.Cut(strings.TrimSpace(line[:cut]), "{")
		s[strings.TrimSpace(name)] += v
		if strings.HasSuffix(name, "_bucket") {
			s[name+"{"+labels] = v
		}
	}
	return s
}
