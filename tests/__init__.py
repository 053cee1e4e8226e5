"""The tests of Proctor; they mirror its folders."""
