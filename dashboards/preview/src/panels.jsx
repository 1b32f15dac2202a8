import React, { useEffect, useState } from 'react';
import { dateTime, FieldType } from '@grafana/data';
import { BigValue, PanelChrome, Table, TimeSeries } from '@grafana/ui';
import { frames as framesOf } from './frames.js';
import { Logs, NodeGraph, StateTimeline } from './lookalikes.jsx';
import { interpolate, query } from './sources.js';

// state is what a script that waits for the page, or that checks it, asks for.
const state = (window.preview = { loaded: 0, panels: 0, problems: [], empty: [] });

const lastNumber = (frame) => {
  const field = frame.fields.find((f) => f.type === FieldType.number);
  const value = field.values.filter((v) => v !== null).at(-1) ?? null;
  return { field, value };
};

function Stats({ panel, frames, width, height, theme }) {
  const across = Math.min(frames.length, Math.max(1, Math.floor(width / 90)));
  const down = Math.ceil(frames.length / across);
  return (
    <div style={{ display: 'flex', flexWrap: 'wrap' }}>
      {frames.map((frame, i) => {
        const { field, value } = lastNumber(frame);
        const title = frames.length > 1 ? field.config.displayNameFromDS : undefined;
        const sparkline = panel.options.graphMode === 'area' && field.values.length > 1 ? { y: field, x: frame.fields[0] } : undefined;
        return <BigValue key={i} width={width / across} height={height / down} theme={theme} value={{ ...field.display(value), title }}
          colorMode={panel.options.colorMode} graphMode={panel.options.graphMode} justifyMode={panel.options.justifyMode} sparkline={sparkline} />;
      })}
    </div>
  );
}

function Drawn({ panel, answers, width, height, context }) {
  const { theme, time } = context;
  const entries = answers.flatMap((a) => a.entries || []);
  const frames = framesOf(panel, answers, time, theme);
  const rows = frames.reduce((n, f) => n + f.length, 0);
  if (!rows && !entries.length) {
    return <div style={{ display: 'grid', placeItems: 'center', height, color: theme.colors.text.secondary, textAlign: 'center' }}>{panel.fieldConfig?.defaults?.noValue || 'No data'}</div>;
  }
  const shared = { frames, width, height, theme, time };
  switch (panel.type) {
    case 'timeseries': {
      const range = { from: dateTime(time.from * 1000), to: dateTime(time.to * 1000), raw: { from: dateTime(time.from * 1000), to: dateTime(time.to * 1000) } };
      return <TimeSeries frames={frames} structureRev={1} width={width} height={height} timeRange={range} timeZone="utc" legend={panel.options.legend} options={panel.options} />;
    }
    case 'stat':
      return <Stats panel={panel} {...shared} />;
    case 'table':
      return <Table data={frames[0]} width={width} height={height} />;
    case 'state-timeline':
      return <StateTimeline {...shared} />;
    case 'nodeGraph':
      return <NodeGraph {...shared} />;
    case 'logs':
      return <Logs entries={entries} height={height} theme={theme} />;
    default:
      throw new Error(`this preview cannot draw a panel of type ${panel.type}`);
  }
}

function Body({ panel, width, height, context }) {
  const [result, setResult] = useState();
  useEffect(() => {
    let current = true;
    const targets = (panel.targets || []).filter((t) => t.expr && !t.hide);
    Promise.all(targets.map(async (target) => ({ target, ...(await query(target, context.variables, context.time)) })))
      .then((answers) => {
        if (!answers.some((a) => a.series?.length || a.rows?.length || a.entries?.length)) state.empty.push(panel.title);
        if (current) setResult({ answers });
      })
      .catch((error) => { state.problems.push(`${panel.title}: ${error.message}`); if (current) setResult({ error }); })
      .finally(() => { state.loaded++; });
    return () => { current = false; };
  }, [context.time, context.variables]);
  if (!result) return null;
  if (result.error) return <div style={{ color: context.theme.colors.error.text }}>{result.error.message}</div>;
  return <Drawn panel={panel} answers={result.answers} width={width} height={height} context={context} />;
}

class Guard extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { state.problems.push(`${this.props.title}: ${error.message}`); }
  render() { return this.state.error ? <pre>{String(this.state.error)}</pre> : this.props.children; }
}

export function Panel({ panel, width, height, context }) {
  const title = interpolate(panel.title, context.variables, context.time);
  return (
    <Guard title={panel.title}>
      <PanelChrome title={title} description={panel.description && (() => panel.description)} width={width} height={height}>
        {(w, h) => <Body panel={panel} width={w} height={h} context={context} />}
      </PanelChrome>
    </Guard>
  );
}
