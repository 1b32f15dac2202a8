// Turns answers into Grafana's data frames, with the panel's field configuration
// applied by Grafana's own display processors.
import { FieldColorModeId, FieldType, getDisplayProcessor, toDataFrame } from '@grafana/data';

const legend = (target, metric) => {
  if (target.legendFormat && target.legendFormat !== '__auto') return target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, k) => metric[k] ?? '');
  const { __name__: name = '', ...labels } = metric;
  return name + JSON.stringify(labels);
};

const number = (text) => (text === 'NaN' ? null : Number(text.replace('Inf', 'Infinity')));

function seriesFrames(target, series, time) {
  return series.map(({ metric, values }) => toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, config: { interval: time.step * 1000 }, values: values.map(([at]) => at * 1000) },
      { name: 'Value', type: FieldType.number, labels: metric, config: { displayNameFromDS: legend(target, metric) }, values: values.map(([, v]) => number(v)) },
    ],
  }));
}

function tableFrame(target, rows) {
  const labels = [...new Set(rows.flatMap((r) => Object.keys(r.metric)))].sort();
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: rows.map((r) => r.value[0] * 1000) },
      ...labels.map((name) => ({ name, type: FieldType.string, values: rows.map((r) => r.metric[name] ?? '') })),
      { name: 'Value', type: FieldType.number, values: rows.map((r) => number(r.value[1])) },
    ],
  });
}

// organize is the one transformation that the dashboards have.
function organize(frame, { excludeByName = {}, indexByName = {}, renameByName = {} }) {
  const fields = frame.fields.filter((f) => !excludeByName[f.name]).sort((a, b) => (indexByName[a.name] ?? 99) - (indexByName[b.name] ?? 99));
  return { ...frame, fields: fields.map((f) => ({ ...f, name: renameByName[f.name] ?? f.name })) };
}

function assign(config, path, value) {
  const keys = path.split('.');
  const last = keys.pop();
  const at = keys.reduce((c, k) => (c[k] = { ...c[k] }), config);
  at[last] = value;
}

const matches = (matcher, field) => {
  const name = field.config.displayNameFromDS || field.name;
  return matcher.id === 'byName' ? name === matcher.options : matcher.id === 'byRegexp' && new RegExp(matcher.options.replace(/^\/|\/$/g, '')).test(name);
};

// range is what a sparkline is scaled to.
function range(field) {
  const values = field.type === FieldType.number ? field.values.filter((v) => v !== null) : [];
  if (!values.length) return undefined;
  const [min, max] = [Math.min(...values), Math.max(...values)];
  return { min, max, delta: max - min };
}

function configured(panel, frame, nth, theme) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig || {};
  const fields = frame.fields.map((field) => {
    const config = { ...structuredClone(defaults), custom: { ...defaults.custom } };
    // As in Grafana, whose time series alone have a palette by default.
    config.color ||= { mode: panel.type === 'timeseries' ? FieldColorModeId.PaletteClassic : FieldColorModeId.Thresholds };
    for (const o of overrides) if (matches(o.matcher, field)) for (const p of o.properties) assign(config, p.id, p.value);
    if (field.type === FieldType.time) delete config.unit;
    const done = { ...field, config: { ...config, ...field.config }, state: { seriesIndex: nth, range: range(field) } };
    done.display = getDisplayProcessor({ field: done, theme, timeZone: 'utc' });
    return done;
  });
  return { ...frame, fields };
}

// frames are what a panel draws of the answers to its targets.
export function frames(panel, answers, time, theme) {
  const organizers = (panel.transformations || []).filter((t) => t.id === 'organize');
  return answers
    .flatMap(({ target, series, rows }) => (series ? seriesFrames(target, series, time) : rows ? [tableFrame(target, rows)] : []))
    .map((frame) => organizers.reduce((f, t) => organize(f, t.options), frame))
    .map((frame, nth) => configured(panel, frame, nth, theme));
}
