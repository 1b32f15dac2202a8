package agent

import (
	"context"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/erlops/erlops/exporter/etf"
)

// answering is a node that answers everything with the same.
type answering struct{ term Term }

func (a answering) Call(context.Context, string, string, ...Term) (Term, error) { return a.term, nil }

func (a answering) Request(context.Context, string, Term) (Term, error) { return a.term, nil }

// FuzzAnswers: no term from a node makes what reads answers and events of
// sources panic, and what is shown of it is text and JSON.
func FuzzAnswers(f *testing.F) {
	for _, text := range []string{
		`{value, <<131,97,1>>}`, `{raised, error, {badarg, [{password, "x"}]}, {lists, seq}}`, `{too_large, 5}`, `[[a@b], [], 5, {{1,2,3},{4,5,6}}, {{1,2,3},{4,5,6}}, {ok, false}, {ok, [["false"]]}]`,
		`{ok, [{kernel, "8.5", true}]}`, `{batch, <<131,104,2,97,1,106>>}`, `{dropped, 1, 2, 3, 4}`, `{restored, ["x"]}`, `{set, {id, "description"}}`,
		`#{url => <<"http://u:p@h">>, 5 => [1|2]}`, `{ok, [{lists, <<1,2,3>>}]}`, `{1, [], [], false}`,
	} {
		term, err := etf.Parse(text)
		require.NoError(f, err)
		f.Add(encode(f, term))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		term, err := etf.Decode(data, etf.Limits{})
		if err != nil {
			return
		}
		ctx, node := context.Background(), answering{term}
		_, _ = result(term, 1<<10)
		_ = (&logReader{}).read(term, &LogEvent{})
		_, _ = modules(term)
		_, _ = saslEvent(term)
		_, _ = saslAlarms(term)
		_, _ = elarmEvent(term)
		_, _ = elarmAlarms(term)
		_, _ = parseHello(term)
		_, _ = ReadView(ctx, node)
		_, _ = ReadApplications(ctx, node)
		_, _ = ReadModules(ctx, node)
		_, _ = ReadEnvironment(ctx, node, "salt")
		require.True(t, utf8.ValidString(MaskedText(FormatTerm(Masked(term), 1<<16))))
		_, err = json.Marshal(TermToJSON(term))
		require.NoError(t, err)
	})
}
