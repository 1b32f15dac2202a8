package api

import (
	"cmp"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Topology is what the API answers from where it is about families and the
// fleet as a whole. As for [Backend], its methods may be called from many
// goroutines at once, and their errors are an [*Error] where the client is to
// read why. None but Diff waits for a node.
type Topology interface {
	// RenameFamily: CodeNotFound when no node is of the family, CodeConflict
	// when another one has the name.
	RenameFamily(ctx context.Context, family, name string) error
	// MergeFamilies: CodeNotFound when no node is of one of the families.
	MergeFamilies(ctx context.Context, into string, families []string) error
	// FamilyRules are the oldest first.
	FamilyRules() []FamilyRule
	// AddFamilyPattern: CodeInvalid for a pattern that is none.
	AddFamilyPattern(ctx context.Context, pattern, family string) (FamilyRule, error)
	// RemoveFamilyRule: CodeNotFound when there is none of that id.
	RemoveFamilyRule(ctx context.Context, id string) error
	// Findings are what is wrong with the fleet as a whole.
	Findings() []Finding
	// Graph and GraphDOT give the part of the graph that is about some
	// families; all of it without.
	Graph(families []string) Graph
	GraphDOT(families []string) string
	// Diff asks the nodes of a family: CodeNotFound when there are none.
	Diff(ctx context.Context, family string) (FamilyDiff, error)
}

// noTopology answers where there is none: nothing is known.
type noTopology struct{ Topology }

func (noTopology) Findings() []Finding { return nil }

// withTopology is the error of operations that need one where there is none.
func (s *Server) withTopology() error {
	if _, none := s.topology.(noTopology); none {
		return Errorf(CodeUnavailable, "this exporter knows nothing of families and connections")
	}
	return nil
}

// familyOrder are the sorts of families; equal ones are in the order of names.
var familyOrder = map[string]func(a, b Family) int{
	"name":     func(a, b Family) int { return strings.Compare(a.Name, b.Name) },
	"nodes":    func(a, b Family) int { return cmp.Compare(a.Nodes, b.Nodes) },
	"problems": func(a, b Family) int { return cmp.Compare(a.Problems, b.Problems) },
}

// families makes the families out of all nodes, by name.
func (s *Server) families() []Family {
	problems := map[string]int{}
	for _, f := range s.topology.Findings() {
		problems[f.Family]++
	}
	all := map[string]*Family{}
	for _, n := range s.backend.Nodes() {
		f := all[n.Family]
		if f == nil {
			f = &Family{
				Name: n.Family, States: map[string]int{}, OTPReleases: []string{}, Releases: []Release{}, Sources: []string{},
				Problems: problems[n.Family],
			}
			all[n.Family] = f
		}
		f.Nodes++
		f.States[string(n.State)]++
		f.OTPReleases = include(f.OTPReleases, n.OTPRelease)
		f.Sources = include(f.Sources, n.Source)
		if n.Release.Name != "" && !slices.Contains(f.Releases, n.Release) {
			f.Releases = append(f.Releases, n.Release)
		}
	}
	list := make([]Family, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		slices.Sort(f.OTPReleases)
		slices.Sort(f.Sources)
		slices.SortFunc(f.Releases, func(a, b Release) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
		})
		list = append(list, *f)
	}
	return list
}

// include adds a text that is not there yet.
func include(list []string, text string) []string {
	if text == "" || slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

func (s *Server) family(name string) (Family, error) {
	for _, f := range s.families() {
		if f.Name == name {
			return f, nil
		}
	}
	return Family{}, Errorf(CodeNotFound, "no node belongs to a family %q", name)
}

// ListFamilies implements [StrictServerInterface].
func (s *Server) ListFamilies(_ context.Context, r ListFamiliesRequestObject) (ListFamiliesResponseObject, error) {
	list, err := listFamilies(s.families(), r.Params)
	return ListFamilies200JSONResponse(list), err
}

// listFamilies filters, sorts and cuts a page out of all families.
func listFamilies(all []Family, p ListFamiliesParams) (FamilyList, error) {
	if p.Name != nil {
		all = slices.DeleteFunc(all, func(f Family) bool { return !matchPattern(*p.Name, f.Name) })
	}
	sort := string(value(p.Sort))
	by, descending := strings.CutPrefix(sort, "-")
	order := familyOrder[cmp.Or(by, "name")]
	compare := func(a, b Family) int {
		c := order(a, b)
		if descending {
			c = -c
		}
		return cmp.Or(c, strings.Compare(a.Name, b.Name))
	}
	slices.SortFunc(all, compare)
	list := FamilyList{Total: len(all)}
	if p.Cursor != nil {
		last, err := parseCursor(*p.Cursor, ListNodesParamsSort(sort))
		if err != nil {
			return list, err
		}
		n, _ := strconv.Atoi(last.Key)
		start, found := slices.BinarySearchFunc(all, Family{Name: last.Name, Nodes: n, Problems: n}, compare)
		if found {
			start++
		}
		all = all[start:]
	}
	if limit := int(value(p.Limit)); limit > 0 && len(all) > limit {
		all = all[:limit]
		last := all[limit-1]
		key := last.Nodes
		if by == "problems" {
			key = last.Problems
		}
		list.NextCursor = position{Sort: ListNodesParamsSort(sort), Key: strconv.Itoa(key), Name: last.Name}.cursor()
	}
	list.Families = append([]Family{}, all...) // never null in JSON
	return list, nil
}

// GetFamily implements [StrictServerInterface].
func (s *Server) GetFamily(_ context.Context, r GetFamilyRequestObject) (GetFamilyResponseObject, error) {
	f, err := s.family(r.Family)
	return GetFamily200JSONResponse(f), err
}

// DiffFamily implements [StrictServerInterface].
func (s *Server) DiffFamily(ctx context.Context, r DiffFamilyRequestObject) (DiffFamilyResponseObject, error) {
	if err := s.withTopology(); err != nil {
		return nil, err
	}
	d, err := s.topology.Diff(ctx, r.Family)
	return DiffFamily200JSONResponse(d), err
}

// RenameFamily implements [StrictServerInterface].
func (s *Server) RenameFamily(ctx context.Context, r RenameFamilyRequestObject) (RenameFamilyResponseObject, error) {
	if err := s.withTopology(); err != nil {
		return nil, err
	}
	if err := s.topology.RenameFamily(ctx, r.Family, r.Body.Name); err != nil {
		return nil, err
	}
	f, err := s.family(r.Body.Name)
	return RenameFamily200JSONResponse(f), err
}

// MergeFamilies implements [StrictServerInterface].
func (s *Server) MergeFamilies(ctx context.Context, r MergeFamiliesRequestObject) (MergeFamiliesResponseObject, error) {
	if err := s.withTopology(); err != nil {
		return nil, err
	}
	if err := s.topology.MergeFamilies(ctx, r.Family, r.Body.Families); err != nil {
		return nil, err
	}
	f, err := s.family(r.Family)
	return MergeFamilies200JSONResponse(f), err
}

// ListFamilyRules implements [StrictServerInterface].
func (s *Server) ListFamilyRules(context.Context, ListFamilyRulesRequestObject) (ListFamilyRulesResponseObject, error) {
	if err := s.withTopology(); err != nil {
		return nil, err
	}
	return ListFamilyRules200JSONResponse{Rules: append([]FamilyRule{}, s.topology.FamilyRules()...)}, nil
}

// AddFamilyPattern implements [StrictServerInterface].
func (s *Server) AddFamilyPattern(ctx context.Context, r AddFamilyPatternRequestObject) (AddFamilyPatternResponseObject, error) {
	if err := s.withTopology(); err != nil {
		return nil, err
	}
	rule, err := s.topology.AddFamilyPattern(ctx, r.Body.Pattern, r.Body.Family)
	return AddFamilyPattern201JSONResponse(rule), err
}

// RemoveFamilyRule implements [StrictServerInterface].
func (s *Server) RemoveFamilyRule(ctx context.Context, r RemoveFamilyRuleRequestObject) (RemoveFamilyRuleResponseObject, error) {
	if err := s.withTopology(); err != nil {
		return nil, err
	}
	return RemoveFamilyRule204Response{}, s.topology.RemoveFamilyRule(ctx, r.ID)
}

// GetGraph implements [StrictServerInterface].
func (s *Server) GetGraph(_ context.Context, r GetGraphRequestObject) (GetGraphResponseObject, error) {
	if err := s.withFamilies(r.Params.Family); err != nil {
		return nil, err
	}
	return GetGraph200JSONResponse(s.topology.Graph(r.Params.Family)), nil
}

// GetGraphDOT implements [StrictServerInterface].
func (s *Server) GetGraphDOT(_ context.Context, r GetGraphDOTRequestObject) (GetGraphDOTResponseObject, error) {
	if err := s.withFamilies(r.Params.Family); err != nil {
		return nil, err
	}
	return dotAnswer(s.topology.GraphDOT(r.Params.Family)), nil
}

// withFamilies is withTopology for operations on some families, which have to
// be there.
func (s *Server) withFamilies(names []string) error {
	if err := s.withTopology(); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := s.family(name); err != nil {
			return err
		}
	}
	return nil
}

type dotAnswer string

// VisitGetGraphDOTResponse implements [GetGraphDOTResponseObject].
func (a dotAnswer) VisitGetGraphDOTResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(w, string(a))
	return err
}

// ListFindings implements [StrictServerInterface].
func (s *Server) ListFindings(_ context.Context, r ListFindingsRequestObject) (ListFindingsResponseObject, error) {
	if err := s.withFamilies(r.Params.Family); err != nil {
		return nil, err
	}
	answer := ListFindings200JSONResponse{Findings: []Finding{}}
	for _, f := range s.topology.Findings() {
		if len(r.Params.Family) == 0 || slices.Contains(r.Params.Family, f.Family) {
			answer.Findings = append(answer.Findings, f)
		}
	}
	return answer, nil
}

// AddNodeAction implements [StrictServerInterface].
func (s *Server) AddNodeAction(ctx context.Context, r AddNodeActionRequestObject) (AddNodeActionResponseObject, error) {
	registration := NodeRegistration{Name: r.Body.Name, Cookie: r.Body.Cookie}
	if r.Body.DiscoverConnectedNodes {
		registration.ConnectedNodes = &ConnectedNodes{}
	}
	if err := s.backend.Add(ctx, registration); err != nil {
		return nil, err
	}
	node, err := s.node(r.Body.Name)
	if err != nil {
		return nil, err
	}
	// Absolute: the operation is at two paths.
	location := Prefix + "/nodes/" + url.PathEscape(node.Name)
	return AddNodeAction201JSONResponse{Body: node, Headers: AddNodeAction201ResponseHeaders{Location: location}}, nil
}
