package topology

// Refusal says why an engine cannot run a node.
type Refusal struct {
	// Why is a sentence without a full stop, Hint what to do about it.
	Why, Hint string
}

// Refused returns a problem, at the key of the node, for each node of the lab whose
// needs are refused by the engine of that name, as [Problems]; nil when it can run
// them all.
func (l *Lab) Refused(engine string, refuse func(Needs) *Refusal) error {
	var problems Problems
	for i := range l.Nodes {
		n := &l.Nodes[i]
		if n.Kind.Needs == nil {
			continue
		}
		if r := refuse(n.Kind.Needs(n.Settings)); r != nil {
			at := l.doc.find("nodes." + n.Name).label()
			problems = append(problems, l.doc.problem(at.line, at.column, at.width, r.Hint,
				"%s cannot run on engine %s: %s", n.Name, engine, r.Why))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return problems.sorted()
}
