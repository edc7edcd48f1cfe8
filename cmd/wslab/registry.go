package main

import (
	"github.com/wslab/wslab/internal/node"
	"github.com/wslab/wslab/internal/preset"
	catalogue "github.com/wslab/wslab/internal/registry"
	"github.com/wslab/wslab/topology"
)

func kinds() []*node.Kind { return catalogue.Kinds() }

func presets() []preset.Preset { return catalogue.Presets() }

// registry is what lab and scenario files may name.
func registry() *topology.Registry { return catalogue.New() }
