// A link with #blinded=... carries the amounts of hidden outputs; what is behind the # does not reach the server. To have
// them checked against the commitments the server must see them, so the reader is asked first.
"use strict";
const opened = new URLSearchParams(location.hash.slice(1)).get("blinded");
if (opened && location.pathname.startsWith("/tx/")) {
  const notice = document.createElement("p");
  notice.className = "notice";
  const link = document.createElement("a");
  link.href = location.pathname + "?blinded=" + encodeURIComponent(opened);
  link.textContent = "Show them";
  notice.append("This link carries amounts of hidden outputs. ", link, ": this tells them to the server of this page.");
  document.querySelector("main h1")?.after(notice);
}
