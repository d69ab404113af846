// Added to viser's page: clicks, boxes, strokes and lassos on the picture, and keys, go to the viewer as events.
// What the viewer wants (which client this is, which tool is in hand) stands in the link of the panel's status line.
(() => {
  "use strict";
  const KEYS = new Set(__KEYS__);
  const DRAGGING = new Set(["box", "stroke", "lasso"]);
  const STILL_PX = 5;
  const MOST_POINTS = 200;
  const COLOURS = { plus: "#0072b2", minus: "#d55e00" };
  let drag = null; // {tool, negative, points: [[x, y]]} in pixels of the window
  let pressed = null;
  let sheet = null;

  const state = () => {
    const link = document.querySelector('a[href*="#ff="]');
    const [client, tool, sign] = link ? link.getAttribute("href").split("#ff=")[1].split(",") : [];
    return link ? { client, tool, negative: sign === "minus" } : null;
  };
  const send = (client, fields) =>
    fetch("/ff/event?" + new URLSearchParams({ client, ...fields }), {
      headers: { "X-Featurefields": "1" },
    }).catch(() => undefined);
  const canvasAt = (event) => {
    const canvas = event.target;
    if (!(canvas instanceof HTMLCanvasElement)) return null;
    const box = canvas.getBoundingClientRect();
    return box.width > 100 && box.height > 100 ? box : null;
  };
  const within = (box, [x, y]) => {
    const clip = (value) => Math.min(1, Math.max(0, value));
    return [clip((x - box.left) / box.width), clip((y - box.top) / box.height)];
  };
  const told = (box, points) => {
    const step = Math.max(1, Math.ceil(points.length / MOST_POINTS));
    const kept = points.filter((_, index) => index % step === 0 || index === points.length - 1);
    return kept.map((point) => within(box, point).map((value) => value.toFixed(5)).join(",")).join(" ");
  };

  const draw = () => {
    if (sheet === null) {
      sheet = document.createElement("canvas");
      sheet.style.cssText = "position:fixed;left:0;top:0;pointer-events:none;z-index:5";
      document.body.appendChild(sheet);
    }
    sheet.width = window.innerWidth;
    sheet.height = window.innerHeight;
    if (drag === null) return;
    const pen = sheet.getContext("2d");
    pen.strokeStyle = drag.negative ? COLOURS.minus : COLOURS.plus;
    pen.lineWidth = drag.tool === "stroke" ? 6 : 2;
    pen.lineJoin = pen.lineCap = "round";
    pen.setLineDash(drag.tool === "stroke" ? [] : [6, 4]);
    const [first, last] = [drag.points[0], drag.points[drag.points.length - 1]];
    pen.beginPath();
    if (drag.tool === "box") pen.rect(first[0], first[1], last[0] - first[0], last[1] - first[1]);
    else drag.points.forEach(([x, y]) => pen.lineTo(x, y));
    pen.stroke();
  };

  const down = (event) => {
    const box = canvasAt(event);
    const now = state();
    if (box === null || now === null) return;
    pressed = { x: event.clientX, y: event.clientY, button: event.button };
    if (event.button !== 0 || !DRAGGING.has(now.tool)) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
    const negative = now.negative !== event.shiftKey;
    drag = { tool: now.tool, negative, box, client: now.client, points: [[event.clientX, event.clientY]] };
  };
  const move = (event) => {
    if (drag === null) return;
    event.stopImmediatePropagation();
    drag.points.push([event.clientX, event.clientY]);
    draw();
  };
  const up = (event) => {
    if (drag !== null) {
      event.stopImmediatePropagation();
      const { tool, negative, box, client, points } = drag;
      drag = null;
      draw();
      send(client, { kind: tool, negative: negative ? 1 : 0, points: told(box, points) });
      return;
    }
    const box = canvasAt(event);
    const now = state();
    if (box === null || now === null || pressed === null || pressed.button !== event.button) return;
    const moved = Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y);
    pressed = null;
    if (moved > STILL_PX || now.tool !== "click" || (event.button !== 0 && event.button !== 2)) return;
    const negative = event.button === 2 || now.negative !== event.shiftKey;
    send(now.client, {
      kind: "click",
      negative: negative ? 1 : 0,
      points: told(box, [[event.clientX, event.clientY]]),
    });
  };
  const key = (event) => {
    const typing = event.target instanceof HTMLElement && event.target.matches("input, textarea, [contenteditable]");
    const now = state();
    if (now === null || (typing && event.target.type !== "checkbox" && event.target.type !== "radio")) return;
    const name =
      (event.ctrlKey || event.metaKey ? "ctrl+" : "") +
      (event.shiftKey && event.key.length > 1 ? "shift+" : "") +
      (event.ctrlKey || event.metaKey ? (event.shiftKey ? "shift+" : "") + event.key.toLowerCase() : event.key);
    if (name === "Escape" && drag !== null) {
      drag = null;
      draw();
      return;
    }
    if (!KEYS.has(name)) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    send(now.client, { kind: "key", key: name });
  };

  window.addEventListener("pointerdown", down, true);
  window.addEventListener("pointermove", move, true);
  window.addEventListener("pointerup", up, true);
  window.addEventListener("keydown", key, true);
  window.featurefields = { state };
})();
