// usage: node serve.mjs --port PORT [--prometheus URL] [--loki URL] --dashboards FOLDER
// Shows the dashboards at http://127.0.0.1:PORT/ with Grafana's own panels. What
// they ask goes through this server to Prometheus and Loki, and nowhere else.
import { build, stop } from 'esbuild';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { parseArgs } from 'node:util';

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '3000' },
    prometheus: { type: 'string', default: 'http://127.0.0.1:9090' },
    loki: { type: 'string', default: '' },
    dashboards: { type: 'string' },
  },
});

// bundle is the page's script and its style sheet.
const bundle = async () => (await build({
  entryPoints: [path.join(here, 'src/main.jsx')], bundle: true, write: false, outfile: 'bundle.js', format: 'iife', minify: true, jsx: 'automatic', logLevel: 'error',
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  inject: [path.join(here, 'src/browser.js')],
  loader: { '.svg': 'text', '.woff': 'dataurl', '.woff2': 'dataurl', '.ttf': 'dataurl', '.png': 'dataurl' },
  // Grafana's ES modules import CommonJS ones in the way of Node, which a bundle
  // for a browser resolves otherwise: its CommonJS build does not.
  plugins: [{
    name: 'grafana-commonjs',
    setup: (b) => b.onResolve({ filter: /^@grafana\/(ui|data|runtime|schema|i18n)$/ }, (a) => ({ path: path.join(here, 'node_modules', a.path, 'dist/cjs/index.cjs') })),
  }],
})).outputFiles;

const dashboards = () => fs.readdirSync(options.dashboards).filter((f) => f.endsWith('.json'))
  .map((f) => JSON.parse(fs.readFileSync(path.join(options.dashboards, f), 'utf8')));

const embed = (value) => JSON.stringify(value).replace(/</g, '\\u003c');

const page = (dashboard, all) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${dashboard.title}</title>
<link rel="stylesheet" href="/bundle.css"><body style="margin:0"><div id="root"></div>
<script>window.grafanaBootData={settings:{},user:{},navTree:[],assets:{}};window.page=${embed({ dashboard, all: all.map(({ uid, title }) => ({ uid, title })) })}</script>
<script src="/bundle.js"></script></body></html>`;

const built = Object.fromEntries((await bundle()).map((f) => ['/' + path.basename(f.path), f.contents]));
await stop(); // its process would keep half a gigabyte

async function pass(base, rest, response) {
  if (!base) return send(response, 502, 'application/json', JSON.stringify({ status: 'error', error: 'there is no such server' }));
  const answer = await fetch(base.replace(/\/$/, '') + rest);
  return send(response, answer.status, 'application/json', await answer.text());
}

function send(response, status, type, body) {
  response.writeHead(status, { 'content-type': type });
  response.end(body);
}

async function answer(request, response) {
  const { pathname, search } = new URL(request.url, 'http://preview');
  const source = /^\/(prom|loki)(\/.*)$/.exec(pathname);
  if (source) return pass(source[1] === 'prom' ? options.prometheus : options.loki, source[2] + search, response);
  if (built[pathname]) return send(response, 200, pathname.endsWith('.css') ? 'text/css' : 'text/javascript', built[pathname]);
  const all = dashboards();
  const wanted = pathname === '/' ? all.find((d) => d.uid === 'erlops-fleet') : all.find((d) => pathname === `/d/${d.uid}`);
  return wanted ? send(response, 200, 'text/html; charset=utf-8', page(wanted, all)) : send(response, 404, 'text/plain', 'there is no such dashboard\n');
}

const server = http.createServer((request, response) => {
  answer(request, response).catch((e) => send(response, 502, 'application/json', JSON.stringify({ status: 'error', error: String(e.cause ?? e) })));
});
server.listen(Number(options.port), '127.0.0.1', () => console.log(`dashboards at http://127.0.0.1:${server.address().port}/`));
