// Panels whose code Grafana does not publish as components, drawn alike.
import React, { useEffect, useRef } from 'react';

const clock = (ms) => new Date(ms).toISOString().slice(11, 19);

function Canvas({ width, height, draw }) {
  const ref = useRef();
  useEffect(() => {
    const context = ref.current.getContext('2d');
    context.clearRect(0, 0, width, height);
    context.font = '11px sans-serif';
    draw(context);
  });
  return <canvas ref={ref} width={width} height={height} />;
}

function shorten(context, text, width) {
  while (text.length > 1 && context.measureText(text).width > width) text = text.slice(0, -2) + '…';
  return text;
}

// StateTimeline has a row for each series, coloured by its mappings, with the
// state's name where there is room.
export function StateTimeline({ frames, width, height, time, theme }) {
  const left = 150, bottom = 18, row = Math.min(38, (height - bottom) / frames.length);
  const x = (ms) => left + ((ms / 1000 - time.from) / (time.to - time.from)) * (width - left);
  const draw = (context) => {
    frames.forEach((frame, nth) => {
      const [at, value] = frame.fields;
      let start = 0;
      for (let i = 1; i <= value.values.length; i++) {
        if (i < value.values.length && value.values[i] === value.values[start]) continue;
        const { color, text } = value.display(value.values[start]);
        const from = x(at.values[start]), to = x(at.values[i - 1] + time.step * 1000);
        context.fillStyle = color;
        context.fillRect(from, nth * row + 2, to - from, row - 4);
        context.fillStyle = theme.colors.getContrastText(color);
        if (to - from > context.measureText(text).width + 8) context.fillText(text, from + 4, nth * row + row / 2 + 4);
        start = i;
      }
      context.fillStyle = theme.colors.text.primary;
      context.fillText(shorten(context, value.config.displayNameFromDS, left - 10), 2, nth * row + row / 2 + 4);
    });
    context.fillStyle = theme.colors.text.secondary;
    for (let k = 0; k < 5; k++) context.fillText(clock((time.from + ((time.to - time.from) * k) / 5) * 1000), left + ((width - left) * k) / 5, frames.length * row + 14);
  };
  return <div style={{ overflow: 'auto', height }}><Canvas width={width} height={Math.max(height, frames.length * row + bottom)} draw={draw} /></div>;
}

// NodeGraph puts the nodes on a circle.
export function NodeGraph({ frames, width, height, theme }) {
  const column = (frame, name) => frame?.fields.find((f) => f.name === name)?.values || [];
  const nodes = frames.find((f) => f.refId === 'nodes'), edges = frames.find((f) => f.refId === 'edges');
  const at = {}, ids = column(nodes, 'id'), radius = Math.min(width, height) / 2 - 50;
  ids.forEach((id, i) => { at[id] = [width / 2 + 1.6 * radius * Math.cos((2 * Math.PI * i) / ids.length), height / 2 + radius * Math.sin((2 * Math.PI * i) / ids.length)]; });
  const draw = (context) => {
    const targets = column(edges, 'target'), state = column(edges, 'mainstat');
    column(edges, 'source').forEach((source, i) => {
      const from = at[source], to = at[targets[i]];
      if (!from || !to) return;
      context.strokeStyle = theme.colors.text.disabled;
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      context.stroke();
      context.fillStyle = theme.colors.text.secondary;
      if (state[i]) context.fillText(state[i], (from[0] + to[0]) / 2, (from[1] + to[1]) / 2);
    });
    ids.forEach((id, i) => {
      const [x, y] = at[id];
      context.beginPath();
      context.arc(x, y, 18, 0, 7);
      context.fillStyle = theme.colors.background.secondary;
      context.fill();
      context.strokeStyle = theme.visualization.getColorByName('green');
      context.stroke();
      context.fillStyle = theme.colors.text.primary;
      context.textAlign = 'center';
      context.fillText(column(nodes, 'mainstat')[i] ?? '', x, y + 4);
      context.fillText(column(nodes, 'title')[i] ?? '', x, y + 34);
      context.fillText(column(nodes, 'subtitle')[i] ?? '', x, y + 47);
      context.textAlign = 'left';
    });
  };
  return <Canvas width={width} height={height} draw={draw} />;
}

const levels = { emergency: 'purple', alert: 'purple', critical: 'purple', error: 'red', warning: 'orange', notice: 'blue', info: 'green', debug: 'blue' };

// Logs has the newest entry first.
export function Logs({ entries, height, theme }) {
  return (
    <div style={{ overflow: 'auto', height, fontFamily: 'monospace', fontSize: 12 }}>
      {entries.sort((a, b) => b.time - a.time).map((e, i) => (
        <div key={i} style={{ borderLeft: `3px solid ${theme.visualization.getColorByName(levels[e.labels.level] || 'gray')}`, paddingLeft: 6, marginBottom: 2, whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
          <span style={{ color: theme.colors.text.secondary }}>{clock(e.time)} {e.labels.node}</span> {e.line}
        </div>
      ))}
    </div>
  );
}
