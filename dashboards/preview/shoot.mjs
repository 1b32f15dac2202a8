// usage: node shoot.mjs URL PICTURE.png [WIDTH [HEIGHT]]
// Takes a picture of a page with the machine's Chromium, of all of it unless it has a
// height, and fails when a panel of a dashboard does.
import { chromium } from 'playwright-core';

const [url, picture, width = '1500', height] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
const page = await browser.newPage({ viewport: { width: Number(width), height: Number(height ?? 900) } });
const problems = [];
page.on('pageerror', (e) => problems.push(e.message));
await page.goto(url, { timeout: 60000 });
const dashboard = await page.evaluate(() => Boolean(window.page));
if (dashboard) {
  await page.waitForFunction(() => window.preview.panels > 0 && window.preview.loaded >= window.preview.panels, null, { timeout: 60000 });
  // Two frames: the last answer has been drawn.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 500)))));
  const found = await page.evaluate(() => window.preview);
  problems.push(...found.problems);
  console.log(JSON.stringify({ url, panels: found.panels, empty: found.empty, problems }));
} else {
  await page.waitForLoadState('networkidle').catch(() => {});
}
await page.screenshot({ path: picture, fullPage: !height });
await browser.close();
process.exitCode = problems.length ? 1 : 0;
