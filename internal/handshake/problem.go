package handshake

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// Language of the texts: "en" or "ja"; anything else is English.
type Language string

// Japanese is the language beside English.
const Japanese Language = "ja"

// Problem is one thing that is wrong with a head, or worth a note.
type Problem struct {
	ID ProblemID
	// Args are what the texts name in braces.
	Args Args
	// Line and Column count from 1, Column in characters; 0 where there is no text.
	// Width is how many characters are meant, 0 for one.
	Line, Column, Width int
	// Note says that it is no fault.
	Note bool
}

// ProblemID names a problem of the catalogue.
type ProblemID string

// Args are the figures of a problem by name.
type Args map[string]string

// entry is what the catalogue says of a problem.
type entry struct {
	// section of the RFC that asks for it.
	section string
	// status that a server answers with; 0 in a response.
	status int
	// en and ja say what is wrong, do and jaDo what to do about it; they may name Args in braces.
	en, do   string
	ja, jaDo string
}

// Section names the RFC and the section that the problem is about.
func (p Problem) Section() string { return catalogue[p.ID].section }

// Status is the HTTP status that a server refuses a request with for the problem.
func (p Problem) Status() int { return cmp.Or(catalogue[p.ID].status, 400) }

// Text says what is wrong.
func (p Problem) Text(l Language) string {
	e := catalogue[p.ID]
	if l == Japanese {
		return p.fill(e.ja)
	}
	return p.fill(e.en)
}

// Hint says what to do about it.
func (p Problem) Hint(l Language) string {
	e := catalogue[p.ID]
	if l == Japanese {
		return p.fill(e.jaDo)
	}
	return p.fill(e.do)
}

// maxArg bounds how much of a header's value is repeated.
const maxArg = 80

func (p Problem) fill(text string) string {
	var pairs []string
	for name, value := range p.Args {
		if r := []rune(value); len(r) > maxArg {
			value = string(r[:maxArg]) + "..."
		}
		value = strings.Map(printable, value)
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// Wrong leaves the notes out.
func Wrong(all []Problem) []Problem {
	return slices.DeleteFunc(slices.Clone(all), func(p Problem) bool { return p.Note })
}

// printable replaces what a terminal would act on.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}
