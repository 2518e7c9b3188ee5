package main

import (
	"fmt"
	"image/color"
	"path/filepath"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// chart is one that was drawn, as NAME.svg and NAME.png.
type chart struct{ name, title string }

// series is the figures of one system, one spread per place on the x axis.
type series struct {
	name   string
	values []spread
}

var systemColors = map[string]color.Color{
	sysDnode: color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff},
	sysEtcd:  color.RGBA{R: 0xff, G: 0x7f, B: 0x0e, A: 0xff},
}

// barChart is a chart of some groups of scenarios with one bar per system.
type barChart struct {
	chart
	unit   string
	groups []string
	figure figure
}

func millis(f figure) figure { return func(r *run) float64 { return f(r) / 1e3 } }

var barCharts = []barChart{
	{chart{"throughput-put", "Puts per second"}, "puts/s", []string{"put"}, opsPerSec},
	{chart{"throughput-get", "Gets per second"}, "gets/s", []string{"get", "lease", "stale"}, opsPerSec},
	{chart{"throughput-mix", "Operations per second: 90 % gets and 10 % puts, one hot key, scans of 1,000 keys"}, "op/s", []string{"mix", "hot", "scan"}, opsPerSec},
	{chart{"throughput-nodes", "Operations per second: clusters of one and five nodes, nodes on one core each"}, "op/s", []string{"nodes", "core"}, opsPerSec},
	{chart{"latency-put", "Latency of puts, 99th percentile"}, "p99, ms", []string{"put"}, millis(p99)},
	{chart{"latency-get", "Latency of gets, 99th percentile"}, "p99, ms", []string{"get", "lease", "stale"}, millis(p99)},
	{chart{"latency-open", "Open loop: latency from when it was due, 99th percentile"}, "p99, ms", []string{"open"}, millis(p99)},
	{chart{"cpu", "Server CPU time per operation, all nodes"}, "µs", []string{"put", "get"}, serverCPU},
}

// drawCharts draws what the record has figures for.
func drawCharts(rec *record, dir string) ([]chart, error) {
	t := newTable(rec)
	var drawn []chart
	keep := func(c chart, p *plot.Plot, places int) error {
		if p == nil {
			return nil
		}
		drawn = append(drawn, c)
		width := max(24, vg.Length(places)*2.2) * vg.Centimeter
		for _, ext := range []string{"svg", "png"} {
			if err := p.Save(width, 12*vg.Centimeter, filepath.Join(dir, c.name+"."+ext)); err != nil {
				return fmt.Errorf("cannot draw %s: %w", c.name, err)
			}
		}
		return nil
	}
	for i := range barCharts {
		p, places := barCharts[i].draw(rec, t)
		if err := keep(barCharts[i].chart, p, places); err != nil {
			return nil, err
		}
	}
	for i := range lineCharts {
		p, err := lineCharts[i].draw(rec, t)
		if err == nil {
			err = keep(lineCharts[i].chart, p, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	return drawn, nil
}

// labelOf writes a scenario's name in two lines: connections and clients below.
func labelOf(name string) string {
	words := strings.Split(name, "-")
	first := len(words)
	for first > 0 && strings.Trim(words[first-1], "0123456789") == "" {
		first--
	}
	return strings.Join(words[:first], " ") + "\n" + strings.Join(words[first:], "/")
}

// draw returns the chart and its places on the x axis; nil if there is nothing
// to show.
func (b *barChart) draw(rec *record, t table) (*plot.Plot, int) {
	var names []string
	all := []series{{name: sysDnode}, {name: sysEtcd}}
	shown := false
	for _, s := range rec.Plan {
		for _, g := range b.groups {
			if s.Group != g {
				continue
			}
			label := labelOf(s.Name)
			if r := t.get(s.Name, sysDnode).against(t.get(s.Name, sysEtcd), b.figure); r.n > 0 {
				label += "\n" + digits(r.median) + "×"
			}
			names = append(names, label)
			for i := range all {
				v := t.get(s.Name, all[i].name).over(b.figure)
				all[i].values = append(all[i].values, v)
				shown = shown || v.median > 0
			}
		}
	}
	if !shown {
		return nil, 0
	}
	p := newPlot(b.title, b.unit)
	p.NominalX(names...)
	p.X.Tick.Label.Font.Size, p.X.Padding = vg.Points(8), vg.Points(4)
	p.Add(plotter.NewGrid(), &bars{series: all})
	for i := range all {
		p.Legend.Add(all[i].name, swatch{systemColors[all[i].name]})
	}
	return p, len(names)
}

func newPlot(title, unit string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title + " (median, least and most of the rounds)"
	p.Title.Padding = vg.Points(8)
	p.Y.Label.Text = unit + ", logarithmic"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
	p.Legend.Top = true
	p.BackgroundColor = color.White
	return p
}

// lineChart shows how a figure changes with the number at the end of the
// scenario's name.
type lineChart struct {
	chart
	x, unit string
	prefix  string
	figure  figure
}

var lineCharts = []lineChart{
	{chart{"sweep-put", "Puts per second by clients"}, "clients", "puts/s", "sweep-put-", opsPerSec},
	{chart{"sweep-get", "Gets per second by clients"}, "clients", "gets/s", "sweep-get-", opsPerSec},
	{chart{"sweep-put-p99", "Latency of puts by clients, 99th percentile"}, "clients", "p99, ms", "sweep-put-", millis(p99)},
	{chart{"sweep-get-p99", "Latency of gets by clients, 99th percentile"}, "clients", "p99, ms", "sweep-get-", millis(p99)},
	{chart{"value-size", "Puts per second by size of the value, 100 clients"}, "bytes", "puts/s", "value-", opsPerSec},
}

// points are the figures of one system with their spread.
type points struct {
	plotter.XYs
	plotter.YErrors
}

func (l *lineChart) draw(rec *record, t table) (*plot.Plot, error) {
	p := newPlot(l.title, l.unit)
	p.X.Label.Text = l.x
	p.Add(plotter.NewGrid())
	shown := false
	for _, system := range []string{sysDnode, sysEtcd} {
		var pts points
		for _, s := range rec.Plan {
			x, err := strconv.Atoi(strings.TrimPrefix(s.Name, l.prefix))
			v := t.get(s.Name, system).over(l.figure)
			if err != nil || v.least <= 0 {
				continue
			}
			pts.XYs = append(pts.XYs, plotter.XY{X: float64(x), Y: v.median})
			pts.YErrors = append(pts.YErrors, struct{ Low, High float64 }{v.median - v.least, v.most - v.median})
		}
		if len(pts.XYs) < 2 {
			continue
		}
		shown = true
		line, dots, err := plotter.NewLinePoints(pts)
		if err != nil {
			return nil, fmt.Errorf("cannot draw %s: %w", l.name, err)
		}
		errs, err := plotter.NewYErrorBars(pts)
		if err != nil {
			return nil, fmt.Errorf("cannot draw %s: %w", l.name, err)
		}
		line.Color, dots.Color, errs.Color = systemColors[system], systemColors[system], systemColors[system]
		dots.Shape, line.Width = draw.CircleGlyph{}, vg.Points(1.5)
		p.Add(line, dots, errs)
		p.Legend.Add(system, line, dots)
	}
	if !shown {
		return nil, nil
	}
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, powers(p.X.Min, p.X.Max)
	p.Legend.Top, p.Legend.Left = true, true
	return p, nil
}

// powers marks powers of four: clients and sizes go in such steps.
func powers(low, high float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for v := 1.0; v <= high; v *= 4 {
		if v >= low {
			ticks = append(ticks, plot.Tick{Value: v, Label: grouped(v)})
		}
	}
	return ticks
}
