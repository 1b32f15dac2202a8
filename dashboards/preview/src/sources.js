// Asks Prometheus and Loki, through the preview's own server, as Grafana would.

const ask = async (path, query) => {
  const answer = await fetch(path + '?' + new URLSearchParams(Object.entries(query).flatMap(([k, v]) => [].concat(v).map((one) => [k, one]))));
  const body = await answer.json().catch(() => ({ error: `HTTP ${answer.status}` }));
  if (body.status !== 'success') throw new Error(body.error || `HTTP ${answer.status}`);
  return body.data;
};

const units = { s: 1, m: 60, h: 3600, d: 86400 };

// seconds of "now-15m".
export function ago(text) {
  const found = /^now-(\d+)([smhd])$/.exec(text || '');
  return found ? found[1] * units[found[2]] : 3600;
}

// timeOf is the range that is drawn, in seconds since 1970, with the step of its points.
export function timeOf(from) {
  const to = Math.floor(Date.now() / 1000);
  const span = ago(from);
  return { from: to - span, to, step: Math.max(5, Math.ceil(span / 240)) };
}

// interpolate replaces variables and Grafana's own names in a query or a link.
export function interpolate(text, variables, time) {
  const own = {
    __rate_interval: `${Math.max(60, 4 * time.step)}s`,
    __interval: `${time.step}s`,
    __auto: `${time.step}s`,
    __range: `${time.to - time.from}s`,
  };
  return text.replace(/\$(?:\{(\w+)(?::\w+)?\}|(\w+))/g, (all, braced, bare) => own[braced || bare] ?? variables[braced || bare]?.text ?? all);
}

const quoted = (value) => value.replace(/[\\^$.*+?()[\]{}|]/g, '\\\\$&');

// resolve finds what each variable of a dashboard offers, and takes what the
// address says, or all.
export async function resolve(dashboard, address, time) {
  const variables = {};
  for (const v of dashboard.templating.list) {
    const chosen = address.getAll(`var-${v.name}`);
    const offered = v.type === 'query' ? await labelValues(v, variables, time) : v.type === 'custom' ? v.query.split(',') : [];
    variables[v.name] = { ...v, offered, ...choice(v, chosen, offered) };
  }
  return variables;
}

function choice(v, chosen, offered) {
  if (v.type === 'datasource') return { value: v.query, text: v.query };
  if (v.type === 'textbox') return { value: chosen[0] ?? '', text: chosen[0] ?? '' };
  const values = chosen.filter((c) => c !== '$__all');
  if (values.length) return { value: values.join(','), text: values.length > 1 ? `(${values.map(quoted).join('|')})` : quoted(values[0]) };
  if (v.includeAll) return { value: '', text: v.allValue || `(${offered.map(quoted).join('|')})` };
  const first = [].concat(v.current?.value ?? offered[0] ?? '')[0];
  return { value: first, text: first };
}

async function labelValues(v, variables, time) {
  const [, selector, label] = /^label_values\((?:(.+), )?(\w+)\)$/.exec(v.query.query);
  const match = selector ? { 'match[]': interpolate(selector, variables, time) } : {};
  return ask(`/prom/api/v1/label/${label}/values`, { ...match, start: time.from, end: time.to });
}

// query answers one target of a panel: {series}, {rows} or {entries}.
export async function query(target, variables, time) {
  const text = interpolate(target.expr, variables, time);
  if (target.datasource?.type === 'loki') return loki(target, text, time);
  if (target.instant && !target.range) {
    const data = await ask('/prom/api/v1/query', { query: text, time: time.to });
    return target.format === 'table' ? { rows: data.result } : { series: data.result.map((r) => ({ metric: r.metric, values: [r.value] })) };
  }
  const data = await ask('/prom/api/v1/query_range', { query: text, start: time.from, end: time.to, step: time.step });
  return { series: data.result };
}

async function loki(target, text, time) {
  const data = await ask('/loki/loki/api/v1/query_range', { query: text, start: `${time.from}000000000`, end: `${time.to + 5}000000000`, limit: 200, step: time.step });
  if (data.resultType === 'matrix') return { series: data.result.map((r) => ({ metric: r.metric, values: r.values })) };
  return { entries: data.result.flatMap((s) => s.values.map(([ns, line]) => ({ time: ns / 1e6, line, labels: s.stream }))) };
}

// annotations are the moments that a dashboard marks.
export async function annotations(dashboard, variables, time) {
  const found = await Promise.all((dashboard.annotations?.list || []).filter((a) => a.expr && a.datasource?.type === 'prometheus').map(async (a) => {
    const { series } = await query({ ...a, range: true }, variables, time);
    return series.flatMap((s) => s.values.filter(([, v]) => +v > 0).map(([at]) => ({ time: at * 1000, color: a.iconColor, text: a.name })));
  }));
  return found.flat();
}
