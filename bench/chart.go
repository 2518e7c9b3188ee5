package main

type chart struct{ name, title string }

func drawCharts(*record, string) ([]chart, error) { return nil, nil }
