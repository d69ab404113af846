"""How the demo scene is made: shapes, textures, surfaces, light transport. Needs mitsuba."""
