package main

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// bars draws one bar per series side by side at x = 0, 1, 2, ... with a line
// from the least to the most and the median above. The axis is logarithmic: bars
// begin at the bottom of the plot.
type bars struct{ series []series }

// barsShare is the part of the room between two places that bars fill.
const barsShare = 0.76

// Plot implements plot.Plotter.
func (b *bars) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	width := barsShare / float64(len(b.series))
	for i, s := range b.series {
		for at, v := range s.values {
			if v.n == 0 || v.median <= 0 {
				continue
			}
			left := float64(at) - barsShare/2 + float64(i)*width
			x0, x1, mid := toX(left), toX(left+width*0.95), toX(left+width*0.475)
			bottom, top := c.Min.Y, toY(v.median)
			c.FillPolygon(systemColors[s.name], []vg.Point{{X: x0, Y: bottom}, {X: x0, Y: top}, {X: x1, Y: top}, {X: x1, Y: bottom}})
			if v.least > 0 && v.most > v.least {
				thin := draw.LineStyle{Color: color.Black, Width: vg.Points(1)}
				c.StrokeLine2(thin, mid, toY(v.least), mid, toY(v.most))
				for _, y := range []float64{v.least, v.most} {
					c.StrokeLine2(thin, mid-vg.Points(3), toY(y), mid+vg.Points(3), toY(y))
				}
			}
			style := p.Y.Tick.Label
			style.Font.Size, style.XAlign, style.YAlign, style.Rotation = vg.Points(7), draw.XCenter, draw.YBottom, 0
			c.FillText(style, vg.Point{X: mid, Y: toY(max(v.median, v.most)) + vg.Points(2)}, short(v.median))
		}
	}
}

// DataRange implements plot.DataRanger.
func (b *bars) DataRange() (xmin, xmax, ymin, ymax float64) {
	xmin, ymin = -0.5, math.Inf(1)
	for _, s := range b.series {
		xmax = max(xmax, float64(len(s.values))-0.5)
		for _, v := range s.values {
			if v.n > 0 && v.least > 0 {
				ymin, ymax = min(ymin, v.least), max(ymax, v.most)
			}
		}
	}
	return xmin, xmax, math.Pow(10, math.Floor(math.Log10(ymin))), ymax * 2
}

// short writes a number in little room.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return digits(v/1e6) + " M"
	case v >= 1e4:
		return digits(v/1e3) + " k"
	case v >= 1e3:
		return grouped(v)
	default:
		return digits(v)
	}
}

// swatch is a coloured square in a legend.
type swatch struct{ color color.Color }

// Thumbnail implements plot.Thumbnailer.
func (s swatch) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(s.color, []vg.Point{{X: c.Min.X, Y: c.Min.Y}, {X: c.Min.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Min.Y}})
}

// decades marks 1, 2 and 5 times each power of ten.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, e); v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: tickText(v)})
			}
		}
	}
	return ticks
}

func tickText(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%g M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%g k", v/1e3)
	default:
		return fmt.Sprintf("%.4g", v)
	}
}
