// The page of one dashboard: its variables, its range and its panels, read again
// as often as the dashboard says.
import React, { useEffect, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { createTheme, ThemeContext } from '@grafana/data';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { config } from '@grafana/runtime';
import { Panel } from './panels.jsx';
import { ago, resolve, timeOf } from './sources.js';

const { dashboard, all } = window.page;
const address = new URLSearchParams(location.search);
const theme = createTheme({ colors: { mode: address.get('theme') || 'dark' } });
Object.assign(config, { theme2: theme });

const columns = 24, rowHeight = 30, gap = 8;

const input = { height: 30, padding: '0 6px', color: theme.colors.text.primary, background: theme.components.input.background, border: `1px solid ${theme.components.input.borderColor}`, borderRadius: 4, appearance: 'auto', width: 'auto', maxWidth: 300 };

function go(change) {
  const next = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(change)) value ? next.set(key, value) : next.delete(key);
  location.search = next;
}

function Choice({ variable }) {
  if (variable.type === 'datasource') return null;
  const change = (e) => go({ [`var-${variable.name}`]: e.target.value });
  return (
    <label>
      {variable.label || variable.name}{' '}
      {variable.type === 'textbox' ? <input style={input} defaultValue={variable.value} onBlur={change} onKeyDown={(e) => e.key === 'Enter' && change(e)} /> : (
        <select style={input} value={variable.value} onChange={change}>
          {variable.includeAll && <option value="">All</option>}
          {[...new Set([...variable.offered, variable.value])].filter(Boolean).map((v) => <option key={v}>{v}</option>)}
        </select>
      )}
    </label>
  );
}

function Bar({ variables, from }) {
  const keep = new URLSearchParams(location.search);
  return (
    <div style={{ display: 'flex', flexWrap: 'wrap', gap: 12, padding: gap, alignItems: 'center', color: theme.colors.text.secondary }}>
      <select style={input} value={dashboard.uid} onChange={(e) => { location.href = `/d/${e.target.value}?${keep}`; }}>
        {all.map((d) => <option key={d.uid} value={d.uid}>{d.title}</option>)}
      </select>
      {Object.values(variables).map((v) => <Choice key={v.name} variable={v} />)}
      <select value={from} onChange={(e) => go({ from: e.target.value })} style={{ ...input, marginLeft: 'auto' }}>
        {[...new Set(['now-5m', 'now-15m', 'now-1h', 'now-6h', 'now-24h', from])].map((f) => <option key={f}>{f}</option>)}
      </select>
    </div>
  );
}

// placed are the panels with those of collapsed rows, which are open here, and what
// lies below moved down.
function placed(panels) {
  let moved = 0;
  return panels.flatMap((p) => {
    const at = { ...p, y: p.gridPos.y + moved };
    const inner = (p.collapsed && p.panels) || [];
    if (!inner.length) return [at];
    const top = Math.min(...inner.map((q) => q.gridPos.y));
    const inside = inner.map((q) => ({ ...q, y: at.y + 1 + q.gridPos.y - top }));
    moved += Math.max(...inner.map((q) => q.gridPos.y + q.gridPos.h)) - top;
    return [at, ...inside];
  });
}

function Grid({ panels, width, context }) {
  const unit = width / columns, narrow = width < 769;
  let y = 0;
  const box = (p) => {
    if (!narrow) return { left: p.gridPos.x * unit, top: p.y * (rowHeight + gap), width: p.gridPos.w * unit - gap, height: p.gridPos.h * (rowHeight + gap) - gap };
    const height = p.gridPos.h * (rowHeight + gap) - gap;
    y += height + gap;
    return { left: 0, top: y - height - gap, width: width - gap, height };
  };
  const boxes = panels.map(box);
  return (
    <div style={{ position: 'relative', height: Math.max(...boxes.map((b) => b.top + b.height)) + gap }}>
      {panels.map((p, i) => (
        <div key={p.id} style={{ position: 'absolute', ...boxes[i] }}>
          {p.type === 'row' ? <h5 style={{ lineHeight: `${rowHeight}px` }}>⌄ {p.title}</h5> : <Panel panel={p} width={boxes[i].width} height={boxes[i].height} context={context} />}
        </div>
      ))}
    </div>
  );
}

function App() {
  const from = address.get('from') || dashboard.time.from;
  const [context, setContext] = useState();
  const [width, setWidth] = useState(window.innerWidth);
  const panels = useMemo(() => placed(dashboard.panels), []);
  window.preview.panels = panels.filter((p) => p.type !== 'row').length;
  useEffect(() => {
    const read = async () => {
      const time = timeOf(from);
      setContext({ theme, time, variables: await resolve(dashboard, address, time) });
    };
    const failed = (e) => { window.preview.problems.push(e.message); document.body.append(`Prometheus: ${e.message}`); };
    read().catch(failed);
    const every = setInterval(() => read().catch(failed), ago(`now-${dashboard.refresh || '30s'}`) * 1000);
    const resized = () => setWidth(window.innerWidth);
    window.addEventListener('resize', resized);
    return () => { clearInterval(every); window.removeEventListener('resize', resized); };
  }, []);
  if (!context) return null;
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ background: theme.colors.background.canvas, minHeight: '100vh', padding: `0 0 0 ${gap}px`, boxSizing: 'border-box', width }}>
        <Bar variables={context.variables} from={from} />
        <Grid panels={panels} width={width - gap} context={context} />
      </div>
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById('root')).render(<App />);
