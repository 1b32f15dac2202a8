// What some of Grafana's dependencies expect of Node.
export const process = { env: { NODE_ENV: 'production' }, browser: true, nextTick: (f) => setTimeout(f, 0) };
